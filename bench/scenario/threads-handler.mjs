/** Computes, as long as it is told. */
// oxlint-disable-next-line import/no-default-export -- the form of a handler module
export default function burn({ rounds = 0, endless = false }) {
  if (endless) for (;;);
  let x = 1;
  for (let i = 0; i < rounds; i += 1) x = (Math.imul(x, 1_664_525) + 1_013_904_223) | 0;
  return x;
}
