import { closeConnections } from "../../providers/ssh/pool.js";
import { HcProject } from "./hc-project.js";
import { debrisOf, noDebris, strikeOf, struckUp } from "./kill-matrix.js";

/** Must hold 6: kill -9 at a seeded moment of an `up`; the next `up` converges, the one after it changes nothing, nothing is left over. */
export function killMatrix(name: string, seeds: readonly number[]): void {
  describe(`kill -9 of engine, provider, hcd and node (${name})`, () => {
    let project: HcProject;
    beforeAll(() => {
      project = new HcProject(`${name}-${process.pid}`);
    });
    afterAll(async () => {
      await closeConnections();
      expect(await project.remove()).toBe(0);
    });
    test.each(seeds.map((seed, index) => ({ seed, first: index === 0 })))("seed $seed", async ({ seed, first }) => {
      // the first `up` makes everything, later ones change sites
      const strike = strikeOf(seed, first ? 25_000 : 6_000);
      const struck = await struckUp(project, strike);
      const next = await project.operate("up", ["--allow-delete", "9"]);
      expect({ ...strike, struck, error: next.ran.code === 0 ? "" : next.error }).toEqual({ ...strike, struck, error: "" });
      expect((await project.operate("up")).done).toEqual([]);
      // agents take away what is over in their own rounds
      const end = performance.now() + 60_000;
      let debris = await debrisOf(project);
      while (JSON.stringify(debris) !== JSON.stringify(noDebris) && performance.now() < end) debris = await debrisOf(project);
      expect(debris).toEqual(noDebris);
    });
  });
}
