/** Resumable uploads as the tus library asks for them, on behalf of one request. */
import type { Readable } from 'node:stream';
import { DataStore, Upload } from '@tus/utils';
import type { Resumables } from '../resumable/uploads.ts';
import { offsetOf } from '../resumable/upload-state.ts';
import { readWishes } from './tus-wishes.ts';

/** What the library does not hand on: the request's own query and body. */
export interface TusBody {
  /** Whose share of the unfinished uploads a new one takes. */
  readonly client: string;
  readonly query: Readonly<Record<string, unknown>>;
  /** Takes the body in; answers where the upload then stands. */
  readonly receive: (id: string) => Promise<number>;
  /** @throws StorageFull when so many bytes more do not fit. */
  readonly checkRoom: (neededBytes: number) => Promise<void>;
}

export class TusStore extends DataStore {
  override extensions = [
    'creation',
    'creation-with-upload',
    'creation-defer-length',
    'termination',
    'expiration',
  ];
  readonly #resumables: Resumables;
  readonly #expiresMs: number;
  readonly #body: TusBody;

  constructor(resumables: Resumables, expiresMs: number, body: TusBody) {
    super();
    this.#resumables = resumables;
    this.#expiresMs = expiresMs;
    this.#body = body;
  }

  override async create(upload: Upload): Promise<Upload> {
    const { id, size, metadata = {} } = upload;
    const wishes = readWishes(this.#body.query, metadata);
    if (size !== undefined) await this.#body.checkRoom(size);
    await this.#resumables.create({
      id,
      client: this.#body.client,
      wishes,
      ...(size === undefined ? {} : { sizeBytes: size }),
      ...(upload.metadata === undefined ? {} : { metadata }),
    });
    return upload;
  }

  override async getUpload(id: string): Promise<Upload> {
    const upload = await this.#resumables.ready(id);
    const { metadata } = upload.log.head;
    return new Upload({
      id,
      size: upload.sizeBytes,
      offset: offsetOf(upload),
      // From here the library counts until it expires.
      creation_date: new Date(upload.usedAtMs).toISOString(),
      ...(metadata === undefined ? {} : { metadata }),
    } as ConstructorParameters<typeof Upload>[0]);
  }

  override async declareUploadLength(id: string, sizeBytes: number): Promise<void> {
    await this.#body.checkRoom(sizeBytes - offsetOf(this.#resumables.find(id)));
    await this.#resumables.declareSize(id, sizeBytes);
  }

  /** The stream that the library gives is empty: see tus.ts. */
  override async write(stream: Readable, id: string): Promise<number> {
    stream.resume();
    return this.#body.receive(id);
  }

  override remove(id: string): Promise<void> {
    return this.#resumables.remove(id);
  }

  override deleteExpired(): Promise<number> {
    return this.#resumables.expire();
  }

  override getExpiration(): number {
    return this.#expiresMs;
  }
}
