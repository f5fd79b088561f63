// What the tool runner of Anthropic's SDK makes of a conversation in two turns: its last text, or the error that it sees, as JSON.
// node thread_runner.mjs <base URL> <key> <model>
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.cwd()}/package.json`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));
const [baseURL, apiKey, model] = process.argv.slice(2);
const seen = { text: "", inputs: [], error: "" };

try {
  const { default: Anthropic } = await load("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL, apiKey, maxRetries: 0 });
  const get = {
    name: "get",
    description: "Gets",
    input_schema: { type: "object", properties: { city: { type: "string" } } },
    parse: (input) => input,
    run: async (input) => {
      seen.inputs.push(input);
      return "sunny";
    },
  };
  const runner = client.beta.messages.toolRunner({
    model,
    max_tokens: 100,
    messages: [{ role: "user", content: "What is the weather?" }],
    tools: [get],
  });
  const message = await runner;
  seen.text = message.content.map((block) => block.text ?? "").join("");
} catch (error) {
  seen.error = String(error);
}
console.log(JSON.stringify(seen));
