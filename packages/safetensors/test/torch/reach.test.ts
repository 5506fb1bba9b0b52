import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PyList } from "../../src/torch/pickle/containers.ts";
import type { PickleNode, PickleValue } from "../../src/torch/pickle/values.ts";
import { reaches } from "../../src/torch/reach.ts";

const itemsOf = (value: PickleValue): readonly PickleValue[] => (value as PyList).items;

test("searches one after the other find what a new search finds each time", () => {
  const edges = fc.array(fc.array(fc.nat(9), { maxLength: 4 }), { minLength: 10, maxLength: 10 });
  const property = fc.property(edges, fc.uniqueArray(fc.nat(9), { maxLength: 2 }), (graph, wanted) => {
    const nodes = graph.map(() => new PyList());
    for (const [from, list] of graph.entries()) nodes[from]!.items.push(...list.map((to) => nodes[to]!));
    const isWanted = (value: PickleValue): boolean => wanted.some((index) => nodes[index] === value);
    const search = (known: Map<PickleNode, boolean>) =>
      nodes.map((node) => reaches(node, isWanted, itemsOf, known));
    const known = new Map<PickleNode, boolean>();
    const found = search(known);
    assert.deepEqual(
      found,
      nodes.map((node) => reaches(node, isWanted, itemsOf, new Map())),
    );
    for (const [node, answer] of known) assert.equal(answer, found[nodes.indexOf(node as PyList)]);
  });
  fc.assert(property, { seed: 42, numRuns: 1000 });
});

test("what leads nowhere is gone through once, also in circles", () => {
  const circle = new PyList();
  for (let index = 0; index < 1000; index++) circle.items.push(new PyList([circle]));
  const wanted = new PyList();
  let visits = 0;
  const parts = (value: PickleValue): readonly PickleValue[] => {
    visits++;
    return itemsOf(value);
  };
  const known = new Map<PickleNode, boolean>();
  for (let index = 0; index < 1000; index++) {
    assert.ok(reaches(new PyList([circle, wanted]), (value) => value === wanted, parts, known));
  }
  assert.equal(visits, 1000 + 1001);
});
