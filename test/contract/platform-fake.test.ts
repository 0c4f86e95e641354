import { FakePlatform } from "../../daemon/platform/fake-platform.js";
import { platformContract } from "./platform.js";

const platform = new FakePlatform();
platformContract("fake", () => ({
  platform,
  uid: 23_000,
  crash: async (name) => platform.crash(name),
  processes: async (name) => (platform.states.get(name) === "active" ? 1 : 0),
}));
