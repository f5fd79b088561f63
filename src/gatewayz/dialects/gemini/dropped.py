"""What Gemini cannot carry, with the specification's words."""

DROPPED: dict[str, str] = {
    "logit_bias": "GenerationConfig lists no field for it "
    "(ai.google.dev/api/generate-content#GenerationConfig)",
    "parallel_tool_calls": "FunctionCallingConfig has `mode` and `allowedFunctionNames` only",
    "user": "GenerateContentRequest has no end user",
    "name": "Content has `parts` and `role`: "
    "'The producer of the content. Must be either user or model.'",
    "detail": "`mediaResolution` is one for the whole request (GenerationConfig.mediaResolution)",
    "strict": "FunctionDeclaration has no such field; `responseJsonSchema` is always enforced",
    "format_name": "`responseJsonSchema` is the schema itself, without name and description",
    "file_id": "FileData.fileUri is 'URI of a file uploaded to the File API'; "
    "the id of another provider's upload is not",
    "stop": "GenerationConfig.stopSequences: 'The set of character sequences (up to 5)'",
    "reasoning_effort": "thinking cannot be turned off, or not be set, for every model "
    "(gemini-api/docs/thinking)",
    "reasoning": "earlier thoughts are understood by their `thoughtSignature`; "
    "without one of this provider they say nothing",
    "seal": "Part.thoughtSignature: "
    "'An opaque signature for the thought so it can be reused in subsequent requests'",
    "response_format": "before Gemini 3: "
    "'Function calling with a response mime type application/json is unsupported'",
    "schema": "'While the full JSON Schema may be sent, not all features are supported' "
    "(GenerationConfig)",
    "content": "Part has text, inlineData, fileData, functionCall, functionResponse and code; "
    "no other",
    "tools": "Tool has functionDeclarations and Google's own tools; "
    "server tools of other dialects are neither",
    "tool_choice": "FunctionCallingConfig.mode: AUTO, ANY, NONE and VALIDATED",
}
"""Name in `Draft.dropped` of a chat (before its first dot) → why it cannot be said."""

IMAGES_DROPPED: dict[str, str] = {
    "quality": "ImageConfig has `aspectRatio` and `imageSize` only",
    "style": "ImageConfig has `aspectRatio` and `imageSize` only",
    "user": DROPPED["user"],
    "negative_prompt": "GenerateContentRequest has no such field; it can be said in the prompt",
    "size": "ImageConfig.aspectRatio is one of a list: the nearest one is asked for",
}
"""The same for images."""

EMBEDDINGS_DROPPED: dict[str, str] = {"user": "EmbedContentRequest has no end user"}
"""The same for embeddings."""
