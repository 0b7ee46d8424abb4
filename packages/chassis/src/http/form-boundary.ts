/** RFC 2046 §5.1.1 says 70. Past it: 400. */
const BOUNDARY_MAX_CHARS = 70;

/** The boundary that a content type states; undefined when it is no form, or states none. */
export function boundaryOf(contentType: string | undefined): string | undefined {
  const match = /^multipart\/form-data\s*;.*?\bboundary=(?:"([^"]+)"|([^\s;,"]+))/i.exec(
    contentType ?? '',
  );
  const boundary = match?.[1] ?? match?.[2];
  return boundary === undefined || boundary.length > BOUNDARY_MAX_CHARS ? undefined : boundary;
}
