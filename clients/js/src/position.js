/** Positions, `<epoch>.<offset>`: the same on every transport. Offsets rise; an epoch changes only when data was lost. */

/** Whether a position is past another. Those of two epochs can't be compared; another epoch is news. */
export function isPast(position, other) {
  return !sameEpoch(position, other) || Number(position.split('.')[1]) > Number(other.split('.')[1]);
}

export function sameEpoch(position, other) {
  return position.split('.')[0] === other.split('.')[0];
}
