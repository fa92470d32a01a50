// OpenAI's JavaScript client against the server whose URL is the argument; any failed assertion ends the program.
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "any", maxRetries: 0 });
const GREETING = "Hello! How can I help you today?";
const hello = { model: "tiny", messages: [{ role: "user", content: "Hello" }], temperature: 0 };

const whole = await client.chat.completions.create(hello);
assert.equal(whole.choices[0].message.content, GREETING);
assert.ok(whole.choices[0].message.reasoning);
assert.equal(whole.choices[0].finish_reason, "stop");
assert.deepEqual([whole.usage.prompt_tokens, whole.usage.completion_tokens], [12, 26]);

const stream = client.chat.completions.stream({ ...hello, stream_options: { include_usage: true } });
let text = "";
stream.on("content", (delta) => (text += delta));
const final = await stream.finalChatCompletion();
assert.equal(text, GREETING);
assert.equal(final.choices[0].message.content, GREETING);
assert.equal(final.usage.completion_tokens, 26);

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
const messages = [{ role: "user", content: "What is the weather in Paris?" }];
const called = await client.chat.completions.create({ ...hello, messages, tools: [weather] });
assert.equal(called.choices[0].finish_reason, "tool_calls");
const [call] = called.choices[0].message.tool_calls;
assert.deepEqual([call.function.name, JSON.parse(call.function.arguments)], ["get_weather", { city: "Paris" }]);
const answered = await client.chat.completions.create({
  ...hello,
  messages: [...messages, called.choices[0].message, { role: "tool", tool_call_id: call.id, content: "18 degrees" }],
  tools: [weather],
});
assert.match(answered.choices[0].message.content, /18/);
const streamed = await client.chat.completions.stream({ ...hello, messages, tools: [weather] }).finalChatCompletion();
assert.equal(streamed.choices[0].message.tool_calls[0].function.name, "get_weather");

const forced = await client.chat.completions.create({
  ...hello,
  tools: [weather],
  tool_choice: { type: "function", function: { name: "get_weather" } },
});
assert.equal(forced.choices[0].message.tool_calls.length, 1);

const schema = {
  type: "object",
  properties: { mood: { enum: ["good", "bad"] } },
  required: ["mood"],
  additionalProperties: false,
};
const format = { type: "json_schema", json_schema: { name: "greeting", strict: true, schema } };
const structured = await client.chat.completions.parse({ ...hello, response_format: format });
assert.ok(["good", "bad"].includes(structured.choices[0].message.parsed.mood));

const responding = client.responses.stream({ model: "tiny", input: "Hello", temperature: 0 });
const names = [];
for await (const event of responding) names.push(event.type);
assert.deepEqual(names.slice(0, 2), ["response.created", "response.in_progress"]);
assert.equal(names.at(-1), "response.completed");
const response = await responding.finalResponse();
assert.equal(response.output_text, GREETING);
assert.ok(response.usage.output_tokens_details.reasoning_tokens > 0);
assert.deepEqual(response.output.map((item) => item.type), ["reasoning", "message"]);

const completed = await client.completions.create({ model: "tiny", prompt: "Hello", temperature: 0 });
assert.equal(completed.choices[0].text, GREETING);
assert.deepEqual((await client.models.list()).data.map((model) => model.id), ["tiny:latest"]);
assert.equal((await client.models.retrieve("tiny")).id, "tiny");

await assert.rejects(client.chat.completions.create({ ...hello, model: "absent" }), (error) => {
  assert.ok(error instanceof OpenAI.NotFoundError);
  assert.equal(error.type, "not_found_error");
  return true;
});
await assert.rejects(client.chat.completions.create({ ...hello, messages: [] }), OpenAI.BadRequestError);
await assert.rejects(client.chat.completions.create({ ...hello, temperature: "hot" }), OpenAI.BadRequestError);
