import { elementCount } from "../dtype/dtype.ts";
import { quote, SafetensorsError } from "../errors.ts";
import { MAX_CONTAINER_DEPTH } from "../limits.ts";
import { isScriptClass } from "./globals.ts";
import { attributesOf, moduleParts } from "./objects.ts";
import { ObjectNode, PyDict } from "./pickle/containers.ts";
import type { PickleValue } from "./pickle/values.ts";
import { allParts, containedParts, type Known, reaches, reachesTensor } from "./reach.ts";
import { DerivedTensor, TensorNode } from "./tensor.ts";
import { isArray, isTensor, tensorOf } from "./tensor-of.ts";
import { type Container, children, isContainer, joinPath, limitError } from "./walk.ts";

/** A container of the checkpoint and the keys that lead to it; the path of the top is "". */
export interface Place {
  readonly path: string;
  readonly container: Container;
}

/** Children of a training checkpoint that hold tensors, but not the model's. */
const TRAINING_STATE = /^(?:optim.*|lr_scheduler.*|callbacks|loops)$/;

/** Tensors beside a model that are none of its weights: random states always, the others as numbers or beside training state. */
const RANDOM_STATE = /^(?:.+_)?rng_states?$/;
const TRAINING_VALUE =
  /^(?:.+_)?(?:loss(?:es)?|epochs?|steps?|iterations?|metrics?|scores?|accuracy)$|^best_/;

const STATE_DICT = "state_dict";

/** Places that an error lists. */
const MAX_LISTED_PLACES = 20;

/** A search for tensors of PyTorch, or NumPy's arrays. */
interface Search {
  readonly isWanted: (value: PickleValue) => boolean;
  readonly known: Known;
}

/**
 * Finds the container of the model's tensors.
 *
 * With a key, the one at that path, through the attributes of objects as well; "" is the top. Without: as long as a dict
 * has a dict named `state_dict` with tensors, it is that one; as long as a container has no tensor of its own and just one
 * child with tensors, it is that one. Training state is passed over, and losses, steps and random states where it lies
 * beside them or they are single numbers. Several children, or tensors beside them where there is training state:
 * `AMBIGUOUS`. A module is taken as a whole. NumPy's arrays count as tensors only where there are no others: beside them
 * they are random states, scores and the like.
 */
export function chooseContainer(top: Container, key: string | undefined): Place {
  if (key !== undefined) return placeOf(top, key);
  const known: Known = new Map();
  const hasTensor = reaches(top, isTensor, containedParts, known);
  const search: Search = hasTensor ? { isWanted: isTensor, known } : { isWanted: isArray, known: new Map() };
  const seen = new Set<Container>();
  let place: Place = { path: "", container: top };
  for (
    let next: Place | undefined = place;
    next && !seen.has(next.container);
    next = isModule(place.container) ? undefined : innerPlace(place, search)
  ) {
    if (seen.size === MAX_CONTAINER_DEPTH)
      throw limitError("MAX_CONTAINER_DEPTH", "containers nest too deep");
    place = next;
    seen.add(place.container);
  }
  return place;
}

/** Whether a container is a module, whose tensors are named from there. */
function isModule(container: Container): boolean {
  if (container instanceof ObjectNode) return moduleParts(container) !== undefined;
  return container instanceof PyDict && isScriptClass(container.type);
}

/** One step towards the tensors, or nothing if this is the place. The order of the keys does not matter. */
function innerPlace(place: Place, { isWanted, known }: Search): Place | undefined {
  const places: Place[] = [];
  let [hasTensors, hasWeights, hasValues, isTraining] = [false, false, false, false];
  for (const { key, value } of children(place.container)) {
    if (isWanted(value)) {
      hasTensors = true;
      if (RANDOM_STATE.test(key)) continue;
      if (!TRAINING_VALUE.test(key)) hasWeights = true;
      else if (!isScalar(value)) hasValues = true;
    } else if (isContainer(value)) {
      if (RANDOM_STATE.test(key)) continue;
      if (TRAINING_STATE.test(key)) isTraining = true;
      else if (
        (places.length < MAX_LISTED_PLACES || key === STATE_DICT) &&
        reaches(value, isWanted, containedParts, known)
      ) {
        const found = { path: pathBelow(place, key), container: value };
        if (key === STATE_DICT && place.container instanceof PyDict) return found;
        places.push(found);
      }
    }
  }
  // Without training state, a name alone does not tell what is no weight.
  if (hasValues && !isTraining) hasWeights = true;
  if (hasWeights && (!isTraining || places.length === 0)) return undefined;
  if (places.length > 1 || (hasWeights && places.length > 0)) throw severalPlaces(place, places);
  if (!hasTensors && places.length === 0) refuseWholeObjects(place);
  return places[0];
}

/** Whether a tensor has one element, as losses and counts have. */
function isScalar(value: PickleValue): boolean {
  const tensor = tensorOf(value);
  return (
    (tensor instanceof TensorNode || tensor instanceof DerivedTensor) && elementCount(tensor.shape) === 1
  );
}

function severalPlaces(above: Place, places: readonly Place[]): SafetensorsError {
  const keys = places.map(({ path }) => path);
  const more = places.length === MAX_LISTED_PLACES ? ", …" : "";
  return new SafetensorsError(
    "AMBIGUOUS",
    `tensors are in several places; choose one with the option key: ${keys.map(quote).join(", ")}${more}; or ${quote(above.path)} for all`,
    { keys: [...keys, above.path] },
  );
}

/** An object that is no module: which of its attributes are weights, only its class knows. */
function refuseWholeObjects(place: Place): void {
  const known: Known = new Map();
  for (const { key, value } of children(place.container)) {
    if (value instanceof ObjectNode && !isContainer(value) && reachesTensor(value, allParts, known)) {
      throw wholeObject(value, pathBelow(place, key));
    }
  }
}

/** The error for a Python object where a state dict is wanted. */
export function wholeObject(node: ObjectNode, path: string): SafetensorsError {
  const where = path === "" ? "" : ` at ${quote(path)}`;
  const reason = `the tensors are in a Python object of ${quote(node.className)}${where}, which is no torch.nn.Module; save its state_dict()${keyAdvice(node)}`;
  return new SafetensorsError("UNSUPPORTED", reason, { kind: "torch-object" });
}

/** Which option takes the tensors of a value: those of an object only if they are attributes of it. */
export function keyAdvice(value: PickleValue): string {
  return enterable(value) ? ", or name it with the option key to take all tensors in it" : "";
}

/** A container, or the attributes of an object: a key says that they are meant. */
export function enterable(value: PickleValue): Container | undefined {
  if (isContainer(value)) return value;
  return value instanceof ObjectNode ? attributesOf(value) : undefined;
}

/** The container at a path. Keys may hold dots themselves, so all ways to read the path are tried. */
function placeOf(top: Container, path: string): Place {
  const found = new Set<PickleValue>();
  const waiting: [container: Container, rest: string][] = [[top, path]];
  if (path === "") return { path, container: top };
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [container, rest] = next;
    for (const { key, value } of children(container)) {
      const inner = enterable(value);
      if (key === rest) found.add(inner ?? value);
      else if (inner && rest.startsWith(`${key}.`)) waiting.push([inner, rest.slice(key.length + 1)]);
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
