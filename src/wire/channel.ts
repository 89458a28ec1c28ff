/**
 * One connection that carries frames in order, whatever is below it. The protocol knows no transport, and a
 * transport knows nothing of the protocol.
 */
export interface Channel {
  /** Bytes handed in that the network has not taken yet. */
  readonly queuedBytes: number;
  /** Frames that come from now on, and the end. Called once. */
  listen(events: ChannelEvents): void;
  send(frame: Uint8Array): void;
  /** Stop reading, until `resume`: who sends too much is to wait. */
  pause(): void;
  resume(): void;
  /** End it once what was sent is out, at the latest a second later. Twice is fine. */
  close(reason: string): void;
  /** End it at once. */
  destroy(): void;
}

export interface ChannelEvents {
  readonly frame: (bytes: Uint8Array) => void;
  /** Told once, also after `close`. */
  readonly closed: (reason: string) => void;
}
