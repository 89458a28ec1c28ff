import { count, instant, object, oneOf, text } from "./schema.ts";

// Goal: a schema cannot fall behind the type that it describes.

interface Sample {
  readonly name: string;
  readonly kind: "a" | "b";
  readonly at?: Date;
}

const kind = oneOf("a", "b");
object<Sample>({ name: text, kind }, { at: instant });

// @ts-expect-error a key that is always there is missing
object<Sample>({ name: text }, { at: instant });
// @ts-expect-error a key that may be there is missing
object<Sample>({ name: text, kind }, {});
// @ts-expect-error there is no such key
object<Sample>({ name: text, kind }, { at: instant, until: instant });
// @ts-expect-error what may be absent is not required
object<Sample>({ name: text, kind, at: instant }, {});
// @ts-expect-error a name is no number
object<Sample>({ name: count, kind }, { at: instant });
// @ts-expect-error one of the words is missing
object<Sample>({ name: text, kind: oneOf("a") }, { at: instant });
// @ts-expect-error one word too many
object<Sample>({ name: text, kind: oneOf("a", "b", "c") }, { at: instant });
