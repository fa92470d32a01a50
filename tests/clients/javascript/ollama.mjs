// Ollama's JavaScript client against the server whose URL is the argument; any failed assertion ends the program.
import assert from "node:assert/strict";
import { Ollama } from "ollama";

const ollama = new Ollama({ host: process.argv[2] });
const GREETING = "Hello! How can I help you today?";
const hello = { model: "tiny", messages: [{ role: "user", content: "Hello" }], options: { temperature: 0 } };

const whole = await ollama.chat(hello);
assert.equal(whole.message.content, GREETING);
assert.ok(whole.message.thinking);
assert.equal(whole.done_reason, "stop");
assert.equal(whole.eval_count, 26);

let text = "";
let last;
for await (const part of await ollama.chat({ ...hello, stream: true })) {
  text += part.message.content;
  last = part;
}
assert.equal(text, GREETING);
assert.equal(last.done, true);

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the current weather for a city",
    parameters: {
      type: "object",
      properties: { city: { type: "string", description: "City name" } },
      required: ["city"],
    },
  },
};
const question = { role: "user", content: "What is the weather in Paris?" };
const called = await ollama.chat({ ...hello, messages: [question], tools: [weather] });
assert.deepEqual(called.message.tool_calls.map((call) => call.function.name), ["get_weather"]);
assert.deepEqual(called.message.tool_calls[0].function.arguments, { city: "Paris" });
const result = { role: "tool", tool_name: "get_weather", content: "18 degrees and sunny" };
const answered = await ollama.chat({ ...hello, messages: [question, called.message, result], tools: [weather] });
assert.match(answered.message.content, /18/);

const schema = { type: "object", properties: { mood: { enum: ["good", "bad"] } }, required: ["mood"] };
const structured = await ollama.chat({ ...hello, format: schema });
assert.ok(["good", "bad"].includes(JSON.parse(structured.message.content).mood));

const generated = await ollama.generate({ model: "tiny", prompt: "Hello", options: { temperature: 0 } });
assert.equal(generated.response, GREETING);
assert.ok(generated.context.length > 0);

const stream = await ollama.generate({
  model: "tiny",
  prompt: "1 2 3 4",
  raw: true,
  stream: true,
  options: { temperature: 0, num_predict: 3000 },
});
try {
  for await (const _ of stream) stream.abort();
} catch (error) {
  assert.equal(error.name, "AbortError"); // unless the whole answer was read before
}

assert.deepEqual((await ollama.list()).models.map((model) => model.name), ["tiny:latest"]);
assert.equal((await ollama.ps()).models[0].name, "tiny:latest");
assert.ok((await ollama.show({ model: "tiny" })).capabilities.includes("tools"));
assert.ok((await ollama.version()).version);
assert.equal((await ollama.copy({ source: "tiny", destination: "other" })).status, "success");
assert.equal((await ollama.delete({ model: "other" })).status, "success");

await assert.rejects(ollama.chat({ ...hello, model: "absent" }), {
  name: "ResponseError",
  status_code: 404,
  message: "model 'absent' not found",
});
await assert.rejects(ollama.chat({ ...hello, options: { temperature: "hot" } }), {
  name: "ResponseError",
  status_code: 400,
});
