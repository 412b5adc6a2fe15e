// Let a deployed model go on with a text:  node generate.js MODEL "TEXT" [TOKENS] [SEED]

import { run } from "./tessera.js";

await run(async (tessera, [model, text, tokens = "64", seed = "1"]) => {
  if (!model || !text) throw new Error('say: node generate.js MODEL "TEXT" [TOKENS] [SEED]');
  const replica = await tessera.replica(model);
  const request = {
    model,
    text,
    max_tokens: Number(tokens),
    sampling: { temperature: 0.8, seed: Number(seed) },
  };
  process.stdout.write(text);
  const parts = tessera.stream("inference.v1.InferenceService", "Generate", request, replica);
  let last;
  for await (last of parts) process.stdout.write(last.text);
  console.log(`\n— version ${last.version}, ${last.finish_reason}`);
});
