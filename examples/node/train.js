// Submit a job and watch it until it ends:  node train.js job.json

import { readFileSync } from "node:fs";

import { run } from "./tessera.js";

const JOBS = "controller.v1.JobService";

await run(async (tessera, [file = "job.json"]) => {
  const spec = JSON.parse(readFileSync(file, "utf8"));
  const { job } = await tessera.call(JOBS, "CreateJob", { spec });
  console.log(`submitted ${job.id}`);
  let last;
  for await (const { event, progress } of tessera.stream(JOBS, "WatchJob", { name: job.id })) {
    if (event) {
      console.log(`${event.sequence} ${event.type}: ${event.message}`);
      last = event;
    } else {
      const { step, total_steps, loss } = progress;
      console.log(`  step ${step}/${total_steps}, loss ${loss.toFixed(3)}`);
    }
  }
  if (last.state !== "JOB_STATE_SUCCEEDED") throw new Error(`${job.id} did not succeed`);
});
