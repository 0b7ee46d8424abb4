/** Problems of uploads. */
import * as z from 'zod';
import { defineProblem } from './problem.ts';

/** A CAR breaks off, or is not one. */
export const CarInvalid = defineProblem({
  type: 'problems/car-invalid',
  title: 'CAR invalid',
  status: 400,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) => `the CAR can't be read: ${reason}; nothing of it was kept`,
});

/** Files put with a token would be more bytes together than it may keep at once. */
export const QuotaExceeded = defineProblem({
  type: 'problems/quota-exceeded',
  title: 'Quota exceeded',
  status: 413,
  fields: z.object({
    token: z.string(),
    maxBytes: z.int().nonnegative(),
    leftBytes: z.int().nonnegative(),
  }),
  detail: ({ token, maxBytes, leftBytes }) =>
    `files put with the token "${token}" may have ${maxBytes} bytes together, of which ${leftBytes} are left; send less, or have some deleted`,
});

/** The names of a directory's files do not make a tree. */
export const DirectoryInvalid = defineProblem({
  type: 'problems/directory-invalid',
  title: 'Directory invalid',
  status: 400,
  fields: z.object({ path: z.string(), reason: z.string() }),
  detail: ({ path, reason }) => `"${path}" can't be in the directory: ${reason}; nothing was kept`,
});

/** An upload, a pin, a change or a download with `?filename=` has no usable name, or two different ones. */
export const FileNameInvalid = defineProblem({
  type: 'problems/file-name-invalid',
  title: 'File name invalid',
  status: 400,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) =>
    `the file name was refused: ${reason}; give one plain name, for example ?name=report.pdf`,
});

/** A form came to its end without a file part. */
export const FileMissing = defineProblem({
  type: 'problems/file-missing',
  title: 'No file in the form',
  status: 400,
  fields: z.object({}),
  detail: () => 'the form has no file part; send one, for example: curl -F file=@report.pdf',
});

/** A form breaks the rules of multipart/form-data, or ends without its last boundary. */
export const MultipartMalformed = defineProblem({
  type: 'problems/multipart-malformed',
  title: 'Form malformed',
  status: 400,
  fields: z.object({ reason: z.string() }),
  detail: ({ reason }) => `the multipart body can't be read: ${reason}; nothing was kept`,
});

/** The sender left, or closed, before the whole body was here. */
export const BodyIncomplete = defineProblem({
  type: 'problems/body-incomplete',
  title: 'Body incomplete',
  status: 400,
  fields: z.object({ receivedBytes: z.int(), expectedBytes: z.int().optional() }),
  detail: ({ receivedBytes, expectedBytes }) =>
    `the body ended after ${receivedBytes} bytes${expectedBytes === undefined ? '' : ` of ${expectedBytes}`}; nothing was kept, send it again`,
});

/** A body stalled, or came slower than the minimum rate over a whole window. */
export const BodyTooSlow = defineProblem({
  type: 'problems/body-too-slow',
  title: 'Body too slow',
  status: 408,
  fields: z.object({ bytesPerSecondMin: z.int() }),
  detail: ({ bytesPerSecondMin }) =>
    `the body came slower than ${bytesPerSecondMin} bytes a second for too long; nothing was kept`,
});

/** The bytes that came in do not have the sha-256 that the sender stated. */
export const DigestMismatch = defineProblem({
  type: 'problems/digest-mismatch',
  title: 'Digest mismatch',
  status: 400,
  fields: z.object({ expected: z.string(), actual: z.string() }),
  detail: ({ expected, actual }) =>
    `the body's sha-256 is ${actual}, but its sender says ${expected}; nothing was kept, send it again`,
});

/** A body is larger than its route takes. Files have no such limit. */
export const BodyTooLarge = defineProblem({
  type: 'problems/body-too-large',
  title: 'Body too large',
  status: 413,
  fields: z.object({ sizeMaxBytes: z.int() }),
  detail: ({ sizeMaxBytes }) => `this route takes at most ${sizeMaxBytes} bytes`,
});

/** No upload that may be resumed has this address: it never was, was ended, or is long done. */
export const UploadNotFound = defineProblem({
  type: 'problems/upload-not-found',
  title: 'Upload not found',
  status: 404,
  fields: z.object({ id: z.string() }),
  detail: ({ id }) => `there is no upload ${id} here; begin a new one with POST /uploads`,
});

/** An upload expired before it was resumed. */
export const UploadExpired = defineProblem({
  type: 'problems/upload-expired',
  title: 'Upload expired',
  status: 410,
  fields: z.object({ id: z.string() }),
  detail: ({ id }) => `upload ${id} was left alone for too long; begin a new one`,
});

/** An upload is not where the sender thinks: other bytes are awaited, or blocks of it were lost. */
export const UploadOffsetWrong = defineProblem({
  type: 'problems/upload-offset-wrong',
  title: 'Upload offset wrong',
  status: 409,
  fields: z.object({ id: z.string(), offsetBytes: z.int().nonnegative() }),
  detail: ({ id, offsetBytes }) =>
    `upload ${id} is at byte ${offsetBytes}; ask with HEAD and resume from there`,
});

/** Another request has the upload and does not let go of it, or its file is still being put together. */
export const UploadBusy = defineProblem({
  type: 'problems/upload-busy',
  title: 'Upload busy',
  status: 423,
  fields: z.object({ id: z.string() }),
  detail: ({ id }) => `upload ${id} is at work; ask again shortly`,
});

export const UPLOAD_PROBLEMS = [
  CarInvalid,
  QuotaExceeded,
  DirectoryInvalid,
  FileNameInvalid,
  FileMissing,
  MultipartMalformed,
  BodyIncomplete,
  BodyTooSlow,
  DigestMismatch,
  BodyTooLarge,
  UploadNotFound,
  UploadExpired,
  UploadOffsetWrong,
  UploadBusy,
] as const;
