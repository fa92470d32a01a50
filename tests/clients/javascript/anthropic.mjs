// Anthropic's JavaScript client against the server whose URL is the argument; any failed assertion ends the program.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: process.argv[2], apiKey: "any", maxRetries: 0 });
const GREETING = "Hello! How can I help you today?";
const hello = { model: "tiny", max_tokens: 200, messages: [{ role: "user", content: "Hello" }], temperature: 0 };

const whole = await client.messages.create(hello);
assert.deepEqual(whole.content.map((block) => block.type), ["thinking", "text"]);
assert.equal(whole.content[1].text, GREETING);
assert.equal(whole.stop_reason, "end_turn");
assert.equal(whole.usage.output_tokens, 26);
assert.match(whole._request_id, /^req_/);

let text = "";
const stream = client.messages.stream(hello).on("text", (delta) => (text += delta));
const final = await stream.finalMessage();
assert.equal(text, GREETING);
assert.equal(final.content[1].text, GREETING);
assert.equal(final.usage.output_tokens, 26);

const weather = {
  name: "get_weather",
  description: "Get the current weather for a city",
  input_schema: {
    type: "object",
    properties: { city: { type: "string", description: "City name" } },
    required: ["city"],
  },
};
const messages = [{ role: "user", content: "What is the weather in Paris?" }];
const called = await client.messages.stream({ ...hello, messages, tools: [weather] }).finalMessage();
assert.equal(called.stop_reason, "tool_use");
const call = called.content.at(-1);
assert.deepEqual([call.type, call.name, call.input], ["tool_use", "get_weather", { city: "Paris" }]);
const result = { type: "tool_result", tool_use_id: call.id, content: "18 degrees and sunny" };
const answered = await client.messages.create({
  ...hello,
  messages: [...messages, { role: "assistant", content: called.content }, { role: "user", content: [result] }],
  tools: [weather],
});
assert.match(answered.content.at(-1).text, /18/);

const forced = await client.messages.create({ ...hello, tools: [weather], tool_choice: { type: "tool", name: "get_weather" } });
assert.deepEqual([forced.stop_reason, forced.content.at(-1).type], ["tool_use", "tool_use"]);

const schema = {
  type: "object",
  properties: { mood: { enum: ["good", "bad"] } },
  required: ["mood"],
  additionalProperties: false,
};
const structured = await client.messages.create({ ...hello, output_config: { format: { type: "json_schema", schema } } });
assert.ok(["good", "bad"].includes(JSON.parse(structured.content.at(-1).text).mood));

const stopped = await client.messages.create({ ...hello, stop_sequences: ["How"] });
assert.deepEqual([stopped.stop_reason, stopped.stop_sequence], ["stop_sequence", "How"]);
const counted = await client.messages.countTokens({ model: "tiny", messages: hello.messages });
assert.equal(counted.input_tokens, 12);

assert.deepEqual((await client.models.list()).data.map((model) => model.id), ["tiny:latest"]);

await assert.rejects(client.messages.create({ ...hello, model: "absent" }), (error) => {
  assert.ok(error instanceof Anthropic.NotFoundError);
  assert.equal(error.error.error.type, "not_found_error");
  return true;
});
await assert.rejects(client.messages.create({ ...hello, max_tokens: 0 }), Anthropic.BadRequestError);
