import { LocalRunner } from "../../daemon/lib/local-runner.js";
import { pidLivesHere, runnerContract } from "./runner.js";

runnerContract({ name: "this machine", runner: () => new LocalRunner(), pidLives: pidLivesHere });
