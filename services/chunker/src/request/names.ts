import { checkedName, FileNameInvalid } from '@shoal/protocol';

/**
 * The one name of a file, out of all the places that may give one: `?name=`, a form field, the
 * part's own file name. Two different names are a mistake that must not be settled by order.
 * @throws FileNameInvalid
 */
export function oneName(given: readonly (string | undefined)[]): string {
  const names = new Set(given.filter((name) => name !== undefined));
  if (names.size > 1) throw new FileNameInvalid({ reason: 'two names were given' });
  const [name] = names;
  if (name === undefined) throw new FileNameInvalid({ reason: 'none was given' });
  return checkedName(name);
}
