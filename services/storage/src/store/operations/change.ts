import type { Exclusive } from '../../index/commit-queue.ts';
import type { OperationParts } from '../state/store-parts.ts';

/** Changes records in a turn of its own. @throws StorageFull when a full disk is why it can't. */
export async function change<T>(
  { alone, room }: Pick<OperationParts, 'alone' | 'room'>,
  task: (exclusive: Exclusive) => Promise<T> | T,
): Promise<T> {
  try {
    return await alone(task);
  } catch (error) {
    throw await room.explain(error, 0);
  }
}
