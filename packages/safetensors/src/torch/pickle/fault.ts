/** Something wrong with a pickle, from code that does not know where: the machine adds the opcode and its place. */
export class PickleFault extends Error {}
