import type { QueueRequest } from "../storage.ts";
import { Heap } from "./heap.ts";
import type { KeptJob } from "./kept-job.ts";
import type { Lane, Queue } from "./lane.ts";

let claims = 0;

/**
 * Take the jobs of one queue that a claim may have, in order: across the asked lanes by priority, then
 * seq. Only lanes with a ready job are compared, in a heap.
 *
 * @param mayMark whether a marked job may still be given in this call
 * @param take what to do with each job taken out; whether it was given: one whose key is full is not
 * @returns whether a marked job was given
 */
export function giveJobs(
  queue: Queue,
  request: QueueRequest,
  mayMark: boolean,
  take: (job: KeptJob) => boolean,
): boolean {
  const { room } = request;
  const most = room + request.readAhead;
  const lanes = askedLanes(queue, request.names);
  let withMarked = mayMark && lanes.some((lane) => lane.hasMarked);
  let gaveMarked = false;
  let heap = heapOf(lanes, withMarked);
  for (let given = 0; given < most;) {
    // No slot is left that a marked job could start in: from here on they are passed over.
    if (withMarked && given >= room) heap = heapOf(lanes, (withMarked = false));
    const lane = heap.top();
    if (lane === undefined) break;
    const job = lane.take();
    const isGiven = take(job);
    if (isGiven) given++;
    if (isGiven && job.head.marked) {
      gaveMarked = true;
      heap = heapOf(lanes, (withMarked = false));
    } else if (lane.look(withMarked)) {
      heap.settleTop();
    } else {
      heap.dropTop();
    }
  }
  for (const lane of lanes) lane.next = undefined;
  return gaveMarked;
}

function askedLanes(queue: Queue, names: readonly string[]): Lane[] {
  const claim = ++claims;
  const lanes: Lane[] = [];
  for (const name of names) {
    const lane = queue.lanes.get(name);
    if (lane === undefined || lane.paused || lane.seenBy === claim) continue;
    lane.seenBy = claim;
    lanes.push(lane);
  }
  return lanes;
}

function heapOf(lanes: readonly Lane[], withMarked: boolean): Heap<Lane> {
  return new Heap(
    lanes.filter((lane) => lane.look(withMarked)),
    isServedBefore,
  );
}

function isServedBefore(a: Lane, b: Lane): boolean {
  const x = a.next as KeptJob;
  const y = b.next as KeptJob;
  return x.head.priority < y.head.priority || (x.head.priority === y.head.priority && x.place < y.place);
}
