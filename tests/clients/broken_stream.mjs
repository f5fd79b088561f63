// What an SDK makes of a stream of chat: its text, the calls of tools, and the error that it sees, as JSON.
// node broken_stream.mjs <openai | ai-sdk> <base URL> <key> <model>
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.cwd()}/package.json`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const [sdk, baseURL, apiKey, model] = process.argv.slice(2);
const seen = { text: "", calls: [], error: "" };

async function withOpenAI() {
  const { default: OpenAI } = await load("openai");
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const messages = [{ role: "user", content: "q" }];
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const chunk of stream) {
    seen.text += chunk.choices[0]?.delta?.content ?? "";
    for (const call of chunk.choices[0]?.delta?.tool_calls ?? []) {
      seen.calls[call.index] ??= { name: "", arguments: "" };
      seen.calls[call.index].name += call.function?.name ?? "";
      seen.calls[call.index].arguments += call.function?.arguments ?? "";
    }
  }
}

async function withAiSdk() {
  const { createOpenAI } = await load("@ai-sdk/openai");
  const { streamText, tool } = await load("ai");
  const { z } = await load("zod");
  const inputSchema = z.object({ city: z.string() });
  const result = streamText({
    model: createOpenAI({ baseURL, apiKey }).chat(model),
    prompt: "q",
    maxRetries: 0,
    onError: () => {},
    tools: { get: tool({ inputSchema }), put: tool({ inputSchema }) },
  });
  for await (const part of result.fullStream) {
    if (part.type === "text-delta") seen.text += part.text;
    if (part.type === "tool-call") {
      seen.calls.push({ name: part.toolName, arguments: JSON.stringify(part.input) });
    }
    if (part.type === "error") throw part.error;
  }
}

try {
  await { openai: withOpenAI, "ai-sdk": withAiSdk }[sdk]();
} catch (error) {
  seen.error = String(error?.message ?? JSON.stringify(error));
}
console.log(JSON.stringify(seen));
