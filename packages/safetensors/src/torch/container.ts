import { quote, SafetensorsError } from "../errors.ts";
import { ObjectNode, PyDict } from "./pickle/containers.ts";
import type { PickleNode, PickleValue } from "./pickle/values.ts";
import { allParts, containedParts, reachesTensor } from "./reach.ts";
import { type Container, children, isContainer, isTensor, joinPath } from "./walk.ts";

/** A container of the checkpoint and the keys that lead to it; the path of the top is "". */
export interface Place {
  readonly path: string;
  readonly container: Container;
}

/** Children of a training checkpoint that hold tensors, but not the model's. */
const TRAINING_STATE = /^(?:optim.*|lr_scheduler.*|callbacks|loops)$/;

/** Places that an error lists. */
const MAX_LISTED_PLACES = 20;

/**
 * Finds the container of the model's tensors.
 *
 * With a key, the one at that path; "" is the top. Without: as long as a dict has a dict named `state_dict`, it is that
 * one; as long as a container has no tensor of its own and just one child with tensors (training state aside), it is
 * that one. Several children: `AMBIGUOUS`.
 */
export function chooseContainer(top: Container, key: string | undefined): Place {
  if (key !== undefined) return placeOf(top, key);
  const seen = new Set<Container>();
  let place: Place = { path: "", container: top };
  for (let next: Place | undefined = place; next && !seen.has(next.container); next = innerPlace(place)) {
    place = next;
    seen.add(place.container);
  }
  return place;
}

/** One step towards the tensors, or nothing if this is the place. */
function innerPlace(place: Place): Place | undefined {
  const barren = new Set<PickleNode>();
  const places: Place[] = [];
  for (const { key, value } of children(place.container)) {
    if (isTensor(value)) return undefined;
    if (key === "state_dict" && place.container instanceof PyDict && value instanceof PyDict) {
      return { path: pathBelow(place, key), container: value };
    }
    if (places.length === MAX_LISTED_PLACES || !isContainer(value) || TRAINING_STATE.test(key)) continue;
    if (reachesTensor(value, containedParts, barren)) {
      places.push({ path: pathBelow(place, key), container: value });
    }
  }
  if (places.length > 1) throw severalPlaces(place, places);
  if (places.length === 0) refuseWholeObjects(place);
  return places[0];
}

function severalPlaces(above: Place, places: readonly Place[]): SafetensorsError {
  const keys = places.map(({ path }) => quote(path)).join(", ");
  const more = places.length === MAX_LISTED_PLACES ? ", …" : "";
  return new SafetensorsError(
    "AMBIGUOUS",
    `tensors are in several places; choose one with the option key: ${keys}${more}; or ${quote(above.path)} for all`,
  );
}

/** A model saved as an object instead of its state dict: its tensors are not in containers. */
function refuseWholeObjects(place: Place): void {
  const barren = new Set<PickleNode>();
  for (const { key, value } of children(place.container)) {
    if (value instanceof ObjectNode && reachesTensor(value, allParts, barren)) {
      throw wholeObject(value, pathBelow(place, key));
    }
  }
}

/** The error for a Python object where a state dict is wanted. */
export function wholeObject(node: ObjectNode, path: string): SafetensorsError {
  const where = path === "" ? "" : ` at ${quote(path)}`;
  const reason = `not supported yet: a whole Python object of ${quote(node.className)}${where}; save its state_dict()`;
  return new SafetensorsError("UNSUPPORTED", reason, { kind: "torch-object" });
}

/** The container at a path. Keys may hold dots themselves, so all ways to read the path are tried. */
function placeOf(top: Container, path: string): Place {
  const found = new Set<PickleValue>();
  const waiting: [container: Container, rest: string][] = [[top, path]];
  if (path === "") return { path, container: top };
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [container, rest] = next;
    for (const { key, value } of children(container)) {
      if (key === rest) found.add(value);
      else if (isContainer(value) && rest.startsWith(`${key}.`))
        waiting.push([value, rest.slice(key.length + 1)]);
    }
  }
  const [value, another] = found;
  if (another !== undefined)
    throw new SafetensorsError("AMBIGUOUS", `the key ${quote(path)} fits several values`);
  if (value === undefined || !isContainer(value)) {
    throw new SafetensorsError(
      "TENSOR_NOT_FOUND",
      `there is no container of tensors at the key ${quote(path)}`,
    );
  }
  return { path, container: value };
}

function pathBelow(place: Place, key: string): string {
  return joinPath(place.path === "" ? undefined : place.path, key);
}
