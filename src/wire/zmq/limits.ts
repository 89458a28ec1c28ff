/** Every limit of the ZeroMQ transport by name, beside those of the protocol. */
export const zmqLimits = {
  /**
   * Messages of one peer that ZeroMQ itself holds, each way. It counts messages and not bytes, so what is to be
   * bounded by bytes has to wait on our side of it.
   */
  highWaterMark: 8,
  /** Frames that travel as the parts of one message. */
  parts: 64,
  /** Size at which such a message is full, unless one frame alone has more. */
  messageBytes: 1_048_576,
  /** Bytes that a client may send while it is not read; a router cannot stop one peer, so beyond them it is cut off. */
  unreadBytes: 67_108_864,
  /** Frames that a client may send while it is not read. */
  unreadFrames: 10_000,
  /** Length of the reason that goes with a close, in characters. */
  reasonLength: 200,
  /** Time for the other side to answer a close. */
  closeMs: 1_000,
  /** Time that the answer to a close may stay behind its closed socket. */
  answerMs: 100,
  /** Time for a peer's handshake. */
  handshakeMs: 10_000,
  /** Longest time between two looks whether a peer that was full takes more. */
  retryMs: 50,
  /** Sockets of this process: a client takes three. */
  sockets: 30_000,
  /** Keys on a list of clients. */
  clients: 10_000,
} as const;
