// @ts-check
// The handler of a job with `thread` is the default export of a module. Payload, result and errors cross by message.

/** @type {import("jobwright").ThreadHandler<typeof import("./jobs.mjs").countPrimes>} */
const handler = ({ below }) => {
  let count = 0;
  for (let n = 2; n < below; n += 1) {
    let isPrime = true;
    for (let d = 2; d * d <= n && isPrime; d += 1) isPrime = n % d !== 0;
    if (isPrime) count += 1;
  }
  return count;
};
// oxlint-disable-next-line import/no-default-export -- this is how a handler is found
export default handler;
