/**
 * How a file may be called: one path segment, shown as it is, safe in a header. Every way in checks a new
 * name here, by `FileName` in a route's schema or by `checkedName`, and refuses it as `file-name-invalid`.
 * Names that are read back (pins of other peers, what is on disk) are a `PinName`, which stays as lenient as
 * it ever was: a stricter rule for new names must not lose files that are kept. `shoal get` saves one that is no
 * `FileName` under its hash, and `?filename=` of a download refuses it. Names inside a directory have a rule of their
 * own, in entry-name.ts.
 */
import * as z from 'zod';
import { hasControls } from './bounded.ts';
import { FileNameInvalid } from './problems/uploads.ts';
import type { Problem } from './problems/problem.ts';

/**
 * Longest name of a new file, in bytes of UTF-8: what common file systems take. It may be lowered, but not
 * raised over `PIN_NAME_MAX_BYTES`.
 * Past it: 400 `file-name-invalid`.
 */
export const FILE_NAME_MAX_BYTES = 255;
/**
 * Longest name in a pin. Never lower it: pins that an earlier version signed would be refused, and their files lost.
 * Past it: the pin is refused.
 */
export const PIN_NAME_MAX_BYTES = 255;

/** Why a file may not be called so, in words for a person; undefined when it may. */
export function fileNameFault(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (new TextEncoder().encode(name).length > FILE_NAME_MAX_BYTES)
    return `it is longer than ${FILE_NAME_MAX_BYTES} bytes`;
  if (name === '.' || name === '..') return 'it names a folder';
  if (/[/\\]/.test(name)) return 'it contains a path separator';
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return 'it contains a control character';
  // Bidirectional controls make "gpj.exe" read as "exe.jpg".
  if (/[\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]/.test(name))
    return 'it contains a character that reverses the reading direction';
  if (/[\ud800-\udfff]/.test(name.replace(/[\ud800-\udbff][\udc00-\udfff]/g, '')))
    return 'it is not valid Unicode';
  return undefined;
}

/** The name, when a file may be called so; none stays none. @throws FileNameInvalid */
export function checkedName<Name extends string | undefined>(name: Name): Name {
  const reason = name === undefined ? undefined : fileNameFault(name);
  if (reason !== undefined) throw new FileNameInvalid({ reason });
  return name;
}

/** The rule for those who read schemas, in step with `fileNameFault`; its length is in characters there. */
const NAME_SHAPE = {
  minLength: 1,
  maxLength: FILE_NAME_MAX_BYTES,
  pattern: String.raw`^[^/\\\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+$`,
};

/** Marks the issues of `FileName` among those of the schema around it. */
const FAULT = 'fileNameFault';

/** A name that a request gives to a file. */
export const FileName = z
  .string()
  .superRefine((name, context) => {
    const fault = fileNameFault(name);
    if (fault !== undefined)
      context.addIssue({ code: 'custom', message: fault, params: { [FAULT]: true } });
  })
  .meta(NAME_SHAPE);

/** The same for a handler that answers in its own way, or only sometimes needs the name: it uses `checkedName`. */
export const UncheckedName = z.string().meta(NAME_SHAPE);

/** The problem of a request whose schema found this; undefined when it is about something else than a name. */
export function nameProblemOf(issue: z.core.$ZodIssue): Problem | undefined {
  if (issue.code !== 'custom' || issue.params?.[FAULT] !== true) return undefined;
  return new FileNameInvalid({ reason: issue.message });
}

/** A name in a pin, new or as an earlier version let it pass: headers and screens can show it. */
export const PinName = z
  .string()
  .min(1)
  .max(PIN_NAME_MAX_BYTES)
  .refine(
    (name) => new TextEncoder().encode(name).length <= PIN_NAME_MAX_BYTES,
    `is longer than ${PIN_NAME_MAX_BYTES} bytes`,
  )
  .refine((name) => !hasControls(name), 'contains a control character')
  .refine((name) => name.isWellFormed(), 'is not valid Unicode');
