import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PyList } from "../../src/torch/pickle/containers.ts";
import type { PickleNode, PickleValue } from "../../src/torch/pickle/values.ts";
import { reaches } from "../../src/torch/reach.ts";

const itemsOf = (value: PickleValue): readonly PickleValue[] => (value as PyList).items;

/** The nodes from which one of the wanted ones is reached: whatever leads to such a node is added until there is no more. */
function leading(graph: readonly (readonly number[])[], wanted: readonly number[]): ReadonlySet<number> {
  const found = new Set(wanted);
  for (let before = -1; before < found.size; ) {
    before = found.size;
    for (const [from, list] of graph.entries()) if (list.some((to) => found.has(to))) found.add(from);
  }
  return found;
}

test("searches one after the other find what is there, and remember only that", () => {
  const edges = fc.array(fc.array(fc.nat(9), { maxLength: 4 }), { minLength: 10, maxLength: 10 });
  const property = fc.property(edges, fc.uniqueArray(fc.nat(9), { maxLength: 2 }), (graph, wanted) => {
    const nodes = graph.map(() => new PyList());
    for (const [from, list] of graph.entries()) nodes[from]!.append(list.map((to) => nodes[to]!));
    const isWanted = (value: PickleValue): boolean => wanted.some((index) => nodes[index] === value);
    const expected = leading(graph, wanted);
    const known = new Map<PickleNode, boolean>();
    for (const [index, node] of nodes.entries()) {
      assert.equal(reaches(node, isWanted, itemsOf, known), expected.has(index));
    }
    for (const [node, answer] of known) assert.equal(answer, expected.has(nodes.indexOf(node as PyList)));
  });
  fc.assert(property, { seed: 42, numRuns: 1000 });
});

test("what leads nowhere is gone through once, also in circles", () => {
  const circle = new PyList();
  for (let index = 0; index < 1000; index++) circle.append([new PyList([circle])]);
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
