/**
 * What a terminal would not show as it is: control characters, what steers the direction of text or has no
 * width (an emoji's joiners included), the line separators of Unicode, and halves of surrogate pairs.
 */
const UNSHOWN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
/** Takes no place of its own: accents and the like. */
const NO_WIDTH = /\p{M}/u;
/** Takes two places. */
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6]/u;

/** A text with everything that could steer a terminal written out: `\n`, `\u001b`. */
export function visible(text: string): string {
  return text.replace(UNSHOWN, (character) =>
    character === "\n" ? String.raw`\n` : character === "\t" ? String.raw`\t` : escaped(character),
  );
}

/** A value as JSON that is safe to print. It is the same value: only the writing of some characters differs. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value).replace(UNSHOWN, escaped);
}

/** Places that a visible text takes. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += NO_WIDTH.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
  return width;
}

/** A visible text in at most so many places; what is cut off leaves a "…". */
export function cut(text: string, places: number): string {
  if (widthOf(text) <= places) return text;
  let kept = "";
  let width = 0;
  for (const character of text) {
    width += widthOf(character);
    if (width > places - 1) break;
    kept += character;
  }
  return `${kept}…`;
}

function escaped(character: string): string {
  return Array.from({ length: character.length }, (_, index) =>
    String.raw`\u`.concat(character.charCodeAt(index).toString(16).padStart(4, "0")),
  ).join("");
}
