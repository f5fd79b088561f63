/* What the upstream streams on each wire: the i-th of n events, as documented by OpenAI, Anthropic and Google. */
#include <stdio.h>

#define CHAT_HEAD                                                                                                      \
    "data: {\"id\":\"chatcmpl-BxYz0123456789abcdefghij\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,"      \
    "\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_51db84afab\","
static void chat_event(char *d, int i, int n) {
    int tokens = n - 2;
    if (i < tokens)
        sprintf(d,
                CHAT_HEAD "\"choices\":[{\"index\":0,\"delta\":{%s\"content\":\" tok%d\"},\"logprobs\":null,"
                          "\"finish_reason\":%s}],\"usage\":null}\n\n",
                i ? "" : "\"role\":\"assistant\",", i, i == tokens - 1 ? "\"stop\"" : "null");
    else if (i == tokens)
        sprintf(d,
                CHAT_HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":412,\"completion_tokens\":%d,\"total_tokens\":%d,"
                          "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},"
                          "\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0}}}\n\n",
                tokens, 412 + tokens);
    else
        sprintf(d, "data: [DONE]\n\n");
}
static void messages_event(char *d, int i, int n) {
    if (i == 0)
        sprintf(d, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-sonnet-4-5\","
                   "\"id\":\"msg_01XFDUDYJgAACzvnptvVoYEL\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],"
                   "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":412,"
                   "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"output_tokens\":1,"
                   "\"service_tier\":\"standard\"}}}\n\n");
    else if (i == 1)
        sprintf(d, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,"
                   "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
    else if (i < n - 3)
        sprintf(d,
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,"
                "\"delta\":{\"type\":\"text_delta\",\"text\":\" tok%d\"}}\n\n",
                i - 2);
    else if (i == n - 3)
        sprintf(d, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
    else if (i == n - 2)
        sprintf(d,
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\","
                "\"stop_sequence\":null},\"usage\":{\"input_tokens\":412,\"cache_creation_input_tokens\":0,"
                "\"cache_read_input_tokens\":0,\"output_tokens\":%d}}\n\n",
                n - 5);
    else
        sprintf(d, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}
static void gemini_event(char *d, int i, int n) {
    sprintf(d,
            "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \" tok%d\"}],\"role\": \"model\"},%s"
            "\"index\": 0}],\"usageMetadata\": {\"promptTokenCount\": 412,\"candidatesTokenCount\": %d,"
            "\"totalTokenCount\": %d,\"promptTokensDetails\": [{\"modality\": \"TEXT\",\"tokenCount\": 412}]},"
            "\"modelVersion\": \"gemini-2.5-flash\",\"responseId\": \"mAitaLmkHPPlz7IPvtfUqQ4\"}\r\n\r\n",
            i, i == n - 1 ? "\"finishReason\": \"STOP\"," : "", i + 1, 413 + i);
}
