import assert from "node:assert/strict";
import type { Case, Section } from "./section.ts";
import { at, COMPLETED, leaseOf, newJob, only } from "./stage.ts";

/** Names are data: 1 to 200 characters, anything but control characters. */
const NAMES: readonly (readonly [string, string])[] = [
  ["__proto__", "__proto__"],
  ["constructor", "constructor"],
  ["hasOwnProperty", "hasOwnProperty"],
  ["a path", "a/b"],
  ["dots", ".."],
  ["separators", "a:b|c;d,e~f\\g"],
  ["quotes and SQL", `'; drop table job; --"`],
  ["a wildcard", "*"],
  ["percent and underscore", "%_"],
  ["spaces", " a  b "],
  ["a number", "0"],
  ["emoji", "🙂👩‍👩‍👧"],
  ["a lone surrogate", "\ud83d"],
  ["the last character of the plane", "\uffff"],
  ["200 characters", "n".repeat(200)],
  ["200 characters of three bytes", "漢".repeat(200)],
];

const cases: Case[] = [
  ...NAMES.map(([what, name]): Case => ({
    name: `takes ${what} for every kind of name`,
    async run(stage) {
      await stage.register(name);
      const job = newJob({ name, queue: name, givenId: name, tags: [name] });
      const answer = await stage.storage.enqueue([[job, newJob({ name: "a", queue: name })]], name);
      assert.deepEqual(await stage.storage.enqueue([[job]], name), answer);
      const group = only(answer);
      assert.ok(group.ok);
      const { id } = at(group.jobs, 0);
      assert.deepEqual(await stage.listIds({ state: "available", queue: name, name }), [id]);
      assert.deepEqual(await stage.listIds({ state: "available", tag: name }), [id]);
      assert.equal(await stage.count({ queue: name, name }), 1);

      const claimed = await stage.claimOne({
        processId: name,
        token: `${name} token`,
        queues: [{ queue: name, names: [name], room: 5, readAhead: 0 }],
      });
      assert.deepEqual([claimed.id, claimed.name, claimed.queue], [id, name, name]);
      assert.equal(await stage.storage.note(claimed, { checkpoint: { [name]: "1" } }), "saved");
      assert.equal((await stage.get(id)).processId, name);
      await stage.end(claimed, { state: "available", marked: false });

      await stage.storage.configure({ queue: name, name }, { paused: true });
      const { lanes } = await stage.storage.lanes();
      assert.deepEqual(
        lanes.filter(({ paused }) => paused).map((lane) => [lane.queue, lane.name]),
        [[name, name]],
      );
      await stage.storage.configure({ queue: name, name }, { paused: false });

      const again = await stage.claimOne({ processId: name, queue: name, names: [name] });
      assert.deepEqual(Object.entries(again.checkpoint ?? {}), [[name, "1"]]);
      assert.equal(await stage.settle(leaseOf(again), COMPLETED), "settled");
    },
  })),
  {
    name: "keeps lanes apart whose names together read the same",
    async run(stage) {
      await stage.register();
      const pairs = ["", "a", "ab", "a/b", "a:b", "b"].flatMap((x) =>
        ["b", "/b", ":b", "bb"].map((y) => [`q${x}`, `${y}n`] as const),
      );
      const ids = await stage.enqueue(...pairs.map(([queue, name]) => ({ queue, name })));
      for (const [index, [queue, name]] of pairs.entries()) {
        assert.deepEqual(await stage.listIds({ state: "available", queue, name }), [at(ids, index)]);
        assert.deepEqual(await stage.claimIds({ queue, names: [name] }), [at(ids, index)]);
      }
      assert.equal((await stage.storage.lanes()).lanes.length, pairs.length);
    },
  },
  {
    name: "keeps lanes apart whose names begin alike",
    async run(stage) {
      await stage.register();
      const names = ["mail", "mail2", "mai", "mail ", "Mail", "mail\u0301", "mailmail"];
      const ids = await stage.enqueue(...names.map((name) => ({ name })));
      for (const [index, name] of names.entries()) {
        assert.deepEqual(await stage.claimIds({ names: [name] }), [at(ids, index)]);
      }
    },
  },
  {
    name: "tells given ids and job names apart that together read the same",
    async run(stage) {
      const pairs = [
        ["ab", "c"],
        ["a", "bc"],
        ["a:b", "c"],
        ["a", "b:c"],
        ["a/", "/b"],
        ["a//", "b"],
        ["1", "1:1"],
        ["1:1", "1"],
      ] as const;
      await stage.enqueue(...pairs.map(([name, givenId], n) => ({ name, givenId, payload: `${n}` })));
      assert.equal(await stage.count(), pairs.length);
    },
  },
  {
    name: "does not know queues, names and processes that every object has",
    async run(stage) {
      await stage.register();
      await stage.enqueueOne();
      for (const word of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
        assert.equal(await stage.count({ queue: word }), 0);
        assert.equal(await stage.count({ name: word }), 0);
        assert.deepEqual(await stage.listIds({ state: "available", queue: word }), []);
        assert.deepEqual(await stage.claimIds({ queue: word, names: [word] }), []);
        assert.deepEqual(await stage.claimIds({ names: [word] }), []);
        assert.equal((await stage.claimAll({ processId: word })).known, false);
        assert.equal((await stage.beat(word)).known, false);
      }
    },
  },
];

export const namesSection: Section = { title: "names are data", cases };
