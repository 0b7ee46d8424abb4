/**
 * Limits whose own comments don't say what happens past them: the rows of docs/limits.md for the constants of
 * services, for settings, and for what has no constant. A constant that says it ("Past it: …") has no
 * row here; each should say it in time, when its file is changed.
 */

/** A limit's words: what it bounds, and what happens past it. */
export interface Note {
  readonly what: string;
  readonly past: string;
}

/** By service, then by file and constant. */
export const NOTES: Readonly<Record<string, Readonly<Record<string, Note>>>> = {
  'services/chunker': {
    'blocks.ts READ_STALL_MS': { what: 'Reading back after a restart', past: '503' },
    'chunk-buffers.ts SPARE_BUFFERS_MAX': {
      what: 'Unused buffers',
      past: 'given back to the system',
    },
    'config.ts GATEWAYS_ALLOWED_MAX': {
      what: 'Gateways that the operator allows',
      past: 'the service does not start',
    },
    'confirm.ts HEALTH_TIMEOUT_MS': {
      what: 'Asking for copies (every `POLL_MAX_MS`, 1 s, at least; answered within `HEALTH_TIMEOUT_MS`, 5 s)',
      past: 'asked again until the wait for copies ends',
    },
    'confirm.ts POLL_MAX_MS': {
      what: 'Asking for copies (every `POLL_MAX_MS`, 1 s, at least; answered within `HEALTH_TIMEOUT_MS`, 5 s)',
      past: 'asked again until the wait for copies ends',
    },
    'elsewhere.ts FAILURES_MAX': {
      what: 'Failures of a gateway in a row (`FAILURES_MAX`, 3; one lie is enough)',
      past: 'not asked again for this DAG',
    },
    'form-check.ts PREAMBLE_MAX_BYTES': {
      what: 'Text before the first boundary of a form',
      past: '400 `multipart-malformed`',
    },
    'form.ts FIELDS_MAX': {
      what: 'Fields of a form beside its files (`FIELDS_MAX`, 64; names of `FIELD_NAME_MAX_BYTES`, 100; values of `FIELD_SIZE_MAX_BYTES`, 4096)',
      past: '400',
    },
    'form.ts FIELD_NAME_MAX_BYTES': {
      what: 'Fields of a form beside its files (`FIELDS_MAX`, 64; names of `FIELD_NAME_MAX_BYTES`, 100; values of `FIELD_SIZE_MAX_BYTES`, 4096)',
      past: '400',
    },
    'form.ts FIELD_SIZE_MAX_BYTES': {
      what: 'Fields of a form beside its files (`FIELDS_MAX`, 64; names of `FIELD_NAME_MAX_BYTES`, 100; values of `FIELD_SIZE_MAX_BYTES`, 4096)',
      past: '400',
    },
    'form.ts PARSER_IDLE_MAX_MS': {
      what: 'Form that is here in full and gives nothing',
      past: '400 `multipart-malformed`',
    },
    'form.ts PART_HEADERS_MAX': { what: 'Headers of a part', past: '400' },
    'form.ts PART_HEADER_MAX_BYTES': { what: 'Headers of a part', past: '400' },
    'gateways.ts BLOCK_TIMEOUT_MS': {
      what: 'Gateway: connecting, silence, one block',
      past: 'the next gateway is asked',
    },
    'gateways.ts CONNECTIONS_MAX': {
      what: 'Connections to one gateway',
      past: 'requests wait for one',
    },
    'gateways.ts CONNECT_TIMEOUT_MS': {
      what: 'Gateway: connecting, silence, one block',
      past: 'the next gateway is asked',
    },
    'gateways.ts STALL_TIMEOUT_MS': {
      what: 'Gateway: connecting, silence, one block',
      past: 'the next gateway is asked',
    },
    'gather-dag.ts BLOCKS_KEPT_MAX_BYTES': {
      what: 'Remembered while a DAG is looked at (`SIZES_KEPT_MAX`, 64 Ki leaves, and `BLOCKS_KEPT_MAX_BYTES`, 16 MiB of blocks)',
      past: 'a block that occurs in it again is read again',
    },
    'gather-dag.ts HASHED_FREE_MAX_BYTES': {
      what: 'File that is read through for its sha-256 (`HASHED_FREE_MAX_BYTES`, 1 GiB; longer ones up to `HASHED_PER_BYTE_MAX`, 16, bytes for each of their distinct blocks)',
      past: 'kept without a sha-256',
    },
    'gather-dag.ts HASHED_PER_BYTE_MAX': {
      what: 'File that is read through for its sha-256 (`HASHED_FREE_MAX_BYTES`, 1 GiB; longer ones up to `HASHED_PER_BYTE_MAX`, 16, bytes for each of their distinct blocks)',
      past: 'kept without a sha-256',
    },
    'gather-dag.ts SIZES_KEPT_MAX': {
      what: 'Remembered while a DAG is looked at (`SIZES_KEPT_MAX`, 64 Ki leaves, and `BLOCKS_KEPT_MAX_BYTES`, 16 MiB of blocks)',
      past: 'a block that occurs in it again is read again',
    },
    'import-blocks.ts UNPINNED_NAMED_MAX': {
      what: 'Roots and blocks of an import that are named with a reason',
      past: 'the rest is a number',
    },
    'end-leases.ts ATTEMPTS_MAX': {
      what: 'Tries to end a lease (`ATTEMPTS_MAX`, 6, each of `ATTEMPT_TIMEOUT_MS`, 5 s; `STOP_WAIT_MAX_MS`, 1.5 s, when stopping)',
      past: 'storage lets the lease run out',
    },
    'end-leases.ts ATTEMPT_TIMEOUT_MS': {
      what: 'Tries to end a lease (`ATTEMPTS_MAX`, 6, each of `ATTEMPT_TIMEOUT_MS`, 5 s; `STOP_WAIT_MAX_MS`, 1.5 s, when stopping)',
      past: 'storage lets the lease run out',
    },
    'end-leases.ts STOP_WAIT_MAX_MS': {
      what: 'Tries to end a lease (`ATTEMPTS_MAX`, 6, each of `ATTEMPT_TIMEOUT_MS`, 5 s; `STOP_WAIT_MAX_MS`, 1.5 s, when stopping)',
      past: 'storage lets the lease run out',
    },
    'members.ts PEERS_NAMED_MAX': {
      what: 'Peers with room that a 507 names',
      past: 'the less roomy are left out',
    },
    'put-blocks.ts BATCH_BLOCKS_MAX': {
      what: 'Small blocks in one request to storage',
      past: 'another request',
    },
    'put-pin.ts RETRY_DELAY_MAX_MS': {
      what: 'Pause between two tries to pin',
      past: 'does not grow further',
    },
    'read-body.ts QUEUED_BYTES_MAX': {
      what: 'Bytes read and not yet cut',
      past: 'the socket is paused',
    },
    'receive.ts SLOW_CHUNK_MS': {
      what: 'Chunk of a slow sender',
      past: 'each is written down at once',
    },
    'receive.ts SYNC_LEAVES_MAX': {
      what: 'Chunks between two syncs of the state',
      past: 'what a power cut in one request costs',
    },
    'replicate-jobs.ts ADD_WAIT_MAX_MS': {
      what: 'Jobs that Redis has not answered (`UNANSWERED_ADDS_MAX`, 64; `ADD_WAIT_MAX_MS`, 1 s, before a release)',
      past: 'not queued; settling does their work',
    },
    'replicate-jobs.ts UNANSWERED_ADDS_MAX': {
      what: 'Jobs that Redis has not answered (`UNANSWERED_ADDS_MAX`, 64; `ADD_WAIT_MAX_MS`, 1 s, before a release)',
      past: 'not queued; settling does their work',
    },
    'room.ts MAKE_ROOM_TIMEOUT_MS': {
      what: 'Wait of an upload for room that deleted files give up',
      past: '507 `storage-full`',
    },
    'room.ts STATS_AGE_MAX_MS': {
      what: 'Age of the room that is known (`STATS_AGE_MAX_MS`, 500 ms; asked within `STATS_TIMEOUT_MS`, 1 s)',
      past: 'asked again; without an answer there is no early 507',
    },
    'room.ts STATS_TIMEOUT_MS': {
      what: 'Age of the room that is known (`STATS_AGE_MAX_MS`, 500 ms; asked within `STATS_TIMEOUT_MS`, 1 s)',
      past: 'asked again; without an answer there is no early 507',
    },
    'start.ts BUFFERS_IN_FLIGHT': {
      what: 'Chunks in memory, all uploads (one each, and `BUFFERS_IN_FLIGHT`, 12, that all share)',
      past: 'bodies are held back',
    },
    'locks.ts WAIT_MAX_MS': { what: 'Waiting for the request before', past: '423' },
    'uploads.ts EMPTY_IDLE_MAX_MS': {
      what: 'Idle upload, when others wait for its place (`IDLE_MAX_MS`, 5 min; `EMPTY_IDLE_MAX_MS`, 1 min, without a byte)',
      past: 'it ends: 404 `upload-not-found`',
    },
    'uploads.ts FINISHED_MAX': {
      what: 'Finished uploads remembered',
      past: 'the oldest are forgotten: 404',
    },
    'uploads.ts FINISH_WAIT_MAX_MS': {
      what: 'Waiting for an upload that is being finished',
      past: '423, ask again',
    },
    'uploads.ts IDLE_MAX_MS': {
      what: 'Idle upload, when others wait for its place (`IDLE_MAX_MS`, 5 min; `EMPTY_IDLE_MAX_MS`, 1 min, without a byte)',
      past: 'it ends: 404 `upload-not-found`',
    },
    'uploads.ts RENEW_INTERVAL_MAX_MS': {
      what: 'Renewing leases (`RENEW_INTERVAL_MAX_MS`, at least every 10 minutes, sooner than a lease ages)',
      past: 'the blocks wait for the sweep',
    },
    'uploads.ts TIDY_INTERVAL_MAX_MS': {
      what: 'Tidying up (`TIDY_INTERVAL_MAX_MS`, at least every 60 s)',
      past: 'what ended stays that much longer',
    },
  },
  'services/discovery': {
    'announce.ts BITS_ANNOUNCED_MAX_CHARS': {
      what: 'Have-map that is announced (`BITS_ANNOUNCED_MAX_CHARS`, 64 Ki characters: 380 GiB)',
      past: 'left out; a want brings it',
    },
    'announce.ts TOLD_MAX': {
      what: 'Files of which is remembered what was announced',
      past: 'announced again, changed or not',
    },
    'ask.ts ANSWERS_MAX': {
      what: 'Questions of others worked on',
      past: 'dropped, asked again directly after `NUDGE_AFTER_MS`, 250 ms',
    },
    'ask.ts ASKS_MAX': {
      what: 'Questions of ours under way',
      past: 'answered as if nobody were there',
    },
    'ask.ts CALL_TIMEOUT_MS': { what: 'Calling an asker back', past: 'it goes without our answer' },
    'engine.ts MESSAGE_SIZE_MAX_BYTES': { what: 'Message', past: 'the stream is cut' },
    'expiry.ts PINS_PER_TURN_MAX': {
      what: 'Files that end in one transaction',
      past: 'the rest follows in the next',
    },
    'failure.ts CALL_BACK_TIMEOUT_MS': {
      what: 'Calling back after a broken connection (`CALL_BACK_TIMEOUT_MS`, 2 s; then `KNOCK_TIMEOUT_MS`, 1 s)',
      past: 'refused: down; silent: a suspect',
    },
    'failure.ts KNOCK_TIMEOUT_MS': {
      what: 'Calling back after a broken connection (`CALL_BACK_TIMEOUT_MS`, 2 s; then `KNOCK_TIMEOUT_MS`, 1 s)',
      past: 'refused: down; silent: a suspect',
    },
    'holders.ts BITS_MAX_CHARS': {
      what: 'Holders remembered (`ROOTS_MAX`, 32,768 files; `BITS_MAX_CHARS`, 32 Mi characters)',
      past: 'the least recently confirmed are forgotten, and asked for again',
    },
    'holders.ts LATE_MAX_MS': {
      what: 'An answer that comes by a detour',
      past: 'read earlier by more than this it is of another clock, and taken',
    },
    'holders.ts PEERS_MAX': {
      what: 'Peers whose last turn is remembered',
      past: 'what the longest unchanged one said before counts as current again; it is dated all the same',
    },
    'holders.ts ROOTS_MAX': {
      what: 'Holders remembered (`ROOTS_MAX`, 32,768 files; `BITS_MAX_CHARS`, 32 Mi characters)',
      past: 'the least recently confirmed are forgotten, and asked for again',
    },
    'is-held.ts ANSWERS_MAX': {
      what: 'Answers remembered (`ANSWERS_MAX`, 4096; a yes for 5 s, a no for 1 s)',
      past: 'the oldest is forgotten, and asked again',
    },
    'is-held.ts HAVE_TIMEOUT_MS': {
      what: 'A member’s answer whether it holds a block',
      past: 'counts as "does not have it"',
    },
    'is-held.ts SEARCHES_MAX': {
      what: 'Blocks looked for at once',
      past: 'shared by client; 503 `overloaded`',
    },
    'calls.ts CALL_TIMEOUT_MS': {
      what: 'Call of a member or seed (`CALL_TIMEOUT_MS`, 5 s, and `KNOCK_TIMEOUT_MS`, 1 s, when it failed; again after `RETRY_MAX_MS`, 15 s, at most)',
      past: 'tried again, without end',
    },
    'membership.ts FULL_MESH_MAX': {
      what: 'Members that are connected to all others',
      past: 'each keeps `DEGREE`, 24, connections',
    },
    'calls.ts KNOCK_TIMEOUT_MS': {
      what: 'Call of a member or seed (`CALL_TIMEOUT_MS`, 5 s, and `KNOCK_TIMEOUT_MS`, 1 s, when it failed; again after `RETRY_MAX_MS`, 15 s, at most)',
      past: 'tried again, without end',
    },
    'calls.ts RETRIES_MAX': {
      what: 'Failed calls remembered',
      past: 'all are forgotten, and tried again at once',
    },
    'calls.ts RETRY_MAX_MS': {
      what: 'Call of a member or seed (`CALL_TIMEOUT_MS`, 5 s, and `KNOCK_TIMEOUT_MS`, 1 s, when it failed; again after `RETRY_MAX_MS`, 15 s, at most)',
      past: 'tried again, without end',
    },
    'libp2p-engine.ts CONNECTIONS_MAX': {
      what: 'libp2p connections',
      past: 'new ones are refused',
    },
    'libp2p-engine.ts DIAL_TIMEOUT_MS': { what: 'libp2p dial', past: 'counts as a failed call' },
    'libp2p-engine.ts LINKS_PER_PEER_MAX': {
      what: 'Links of one peer (`LINKS_PER_PEER_MAX`, 4; making one `LINK_TIMEOUT_MS`, 5 s)',
      past: 'refused; asked again later',
    },
    'libp2p-engine.ts LINK_TIMEOUT_MS': {
      what: 'Links of one peer (`LINKS_PER_PEER_MAX`, 4; making one `LINK_TIMEOUT_MS`, 5 s)',
      past: 'refused; asked again later',
    },
    'link.ts QUESTIONS_MAX': {
      what: 'Questions of one link answered at once',
      past: 'failed at once, asked again later',
    },
    'link.ts UNSENT_MAX_BYTES': {
      what: 'Bytes that wait on a link for a peer that reads slowly',
      past: 'the link is cut, and made again',
    },
    'membership.ts HEARTBEATS_MISSED_MAX': {
      what: 'Silence of a member that this peer probes (`HEARTBEATS_MISSED_MAX`, 3 heartbeats, or `ROUNDS_MISSED`, 3 rounds of probes, and half a second)',
      past: 'the member is down',
    },
    'membership.ts FIGURES_PER_SECOND': {
      what: 'Records of which figures alone are new (`FIGURES_PER_SECOND`, 20, over all members)',
      past: 'in a larger swarm each member signs one more rarely',
    },
    'changes.ts WAITERS_MAX': {
      what: 'Callers that wait for a change of members',
      past: 'answered at once',
    },
    'messages.ts RECORD_AGE_MAX_MS': {
      what: 'Age of a record that is relayed (`RECORD_AGE_MAX_MS`, ten years)',
      past: 'counts as that old',
    },
    'messages.ts STAMPS_PER_MESSAGE_MAX': {
      what: 'Pins, or stamps of pins, in one message',
      past: 'sent in several',
    },
    'opinions.ts NAMED_MAX': {
      what: 'Members named in metrics of proofs',
      past: 'counted, and named in `/peers`',
    },
    'own-have-maps.ts ANSWER_TIMEOUT_MS': {
      what: 'Have-maps of our own storage: an answer',
      past: 'counts as holding nothing',
    },
    'own-have-maps.ts CALLS_MAX': {
      what: 'Calls for them at once',
      past: 'the rest go with the next call',
    },
    'own-have-maps.ts WAITING_MAX': {
      what: 'Roots that wait for a call',
      past: 'answered as nothing at once',
    },
    'own-storage.ts STATS_TIMEOUT_MS': {
      what: 'Figures of our own storage',
      past: 'the last ones count',
    },
    'pin-store.ts ROOTS_PER_SHA256_MAX': {
      what: 'Files of one sha-256',
      past: 'the others are found by CID',
    },
    'pin-sync.ts SYNC_TIMEOUT_MS': {
      what: 'Comparing pins with one member',
      past: 'broken off; the next round goes on from there',
    },
    'incoming-pins.ts RECALL_TIMEOUT_MS': {
      what: 'Asking for a newer pin before an upload is pinned',
      past: 'pinned without that answer',
    },
    'pin-editor.ts SEARCH_TIMEOUT_MS': {
      what: 'Search for an unknown file',
      past: '404 `file-not-found`',
    },
    'provider-records.ts HOST_LENGTH_MAX': {
      what: 'Host name in an address',
      past: 'the record has no address',
    },
    'refusals.ts LINES_PER_PEER_MAX': {
      what: 'Record that is refused, in the log (the same one once in `QUIET_MS`, 10 min; `LINES_PER_PEER_MAX`, 100 of one peer within that; `TOLD_MAX`, 1024 remembered; `NAME_SHOWN_CHARS`, 64)',
      past: 'counted by `shoal_discovery_refusals_total` alone',
    },
    'refusals.ts NAME_SHOWN_CHARS': {
      what: 'Record that is refused, in the log (the same one once in `QUIET_MS`, 10 min; `LINES_PER_PEER_MAX`, 100 of one peer within that; `TOLD_MAX`, 1024 remembered; `NAME_SHOWN_CHARS`, 64)',
      past: 'counted by `shoal_discovery_refusals_total` alone',
    },
    'refusals.ts QUIET_MS': {
      what: 'Record that is refused, in the log (the same one once in `QUIET_MS`, 10 min; `LINES_PER_PEER_MAX`, 100 of one peer within that; `TOLD_MAX`, 1024 remembered; `NAME_SHOWN_CHARS`, 64)',
      past: 'counted by `shoal_discovery_refusals_total` alone',
    },
    'refusals.ts TOLD_MAX': {
      what: 'Record that is refused, in the log (the same one once in `QUIET_MS`, 10 min; `LINES_PER_PEER_MAX`, 100 of one peer within that; `TOLD_MAX`, 1024 remembered; `NAME_SHOWN_CHARS`, 64)',
      past: 'counted by `shoal_discovery_refusals_total` alone',
    },
    'room.ts FREE_MIN_BYTES': {
      what: 'Free disk below which the state may not grow',
      past: "507; deleting, draining and starting go on in `RESERVE_PAGES`, 256, free pages of the state's file",
    },
    'seeds.ts ADDRESSES_PER_NAME_MAX': {
      what: 'Seeds (`SEEDS_MAX`, 64, each of `ADDRESSES_PER_NAME_MAX`, 32 addresses)',
      past: 'more seeds: bad configuration; more addresses: not tried',
    },
    'seeds.ts SEEDS_MAX': {
      what: 'Seeds (`SEEDS_MAX`, 64, each of `ADDRESSES_PER_NAME_MAX`, 32 addresses)',
      past: 'more seeds: bad configuration; more addresses: not tried',
    },
    'settle-requests.ts WAITING_MAX': {
      what: 'Settle jobs that wait for Redis',
      past: 'dropped; the next look at every file finds them',
    },
    'standing.ts ANSWER_AGE_MAX_MS': {
      what: 'Age of an answer that tells of now',
      past: 'the file is `unknown`, with the number and its date, unless enough copies are confirmed without it',
    },
    'state.ts MAP_SIZE_BYTES': {
      what: 'Addresses for pins (`MAP_SIZE_BYTES`, 16 GiB: about 16 million pins)',
      past: 'LMDB maps more',
    },
    'survey.ts QUESTION_MS': {
      what: 'Files counted by state (one question for up to 64 files in `QUESTION_MS`, 5 s, by each peer; the age of `UNSAFE_MAX`, 100,000, is known)',
      past: 'a round takes longer than `ROUND_MS`, 30 s; the figures are that old',
    },
    'survey.ts UNSAFE_MAX': {
      what: 'Files counted by state (one question for up to 64 files in `QUESTION_MS`, 5 s, by each peer; the age of `UNSAFE_MAX`, 100,000, is known)',
      past: 'a round takes longer than `ROUND_MS`, 30 s; the figures are that old',
    },
    'transact.ts COMMIT_ERROR_TIMEOUT_MS': {
      what: 'Reason of a failed commit',
      past: 'a full disk only if no byte is free',
    },
    'want.ts ANSWER_BITS_MAX_CHARS': {
      what: 'Have-maps in one answer (`ANSWER_BITS_MAX_CHARS`, 3 Mi characters: 18 million blocks)',
      past: 'the rest is left out',
    },
    'wire.ts REQUESTS_MAX': { what: 'Requests served at once', past: 'refused, asked again later' },
    'wire.ts REQUEST_TIMEOUT_MS': {
      what: 'Answer of another peer (`REQUEST_TIMEOUT_MS`, 5 s unless the caller says otherwise)',
      past: 'counts as no answer',
    },
  },
  'services/gateway': {
    'call.ts ARGS_MAX_BYTES': { what: 'Arguments in a body', past: '400' },
    'events.ts BACKLOG_MAX_BYTES': {
      what: 'Unread events of one listener',
      past: 'cut off; it comes back by itself',
    },
    'ls.ts SORTED_MAX': {
      what: 'Entries of a directory that `ls` sorts',
      past: 'listed in the order of the nodes',
    },
    'mount.ts CALLS_MAX': { what: 'Calls at once', past: 'refused, as Kubo words it' },
    'output.ts BACKLOG_MAX_BYTES': {
      what: 'Lines that a slow reader leaves',
      past: 'progress lines are left out',
    },
    'proxy.ts CONNECT_TIMEOUT_MS': {
      what: 'Connecting to a service',
      past: '503 `service-unavailable`',
    },
    'upstream.ts CONNECT_TIMEOUT_MS': {
      what: 'Connecting to a service',
      past: '500 that names the service',
    },
  },
  'services/storage': {
    'block-files.ts QUARANTINE_BLOCKS_MAX': {
      what: 'Damaged blocks kept for a look',
      past: 'deleted at once',
    },
    'buffers.ts WAIT_MAX_MS': {
      what: 'Wait for a buffer; the hold that others respect',
      past: '503 `overloaded`; a peer that has more gives its buffer up',
    },
    'buffers.ts YIELDS_AFTER_MS': {
      what: 'Wait for a buffer; the hold that others respect',
      past: '503 `overloaded`; a peer that has more gives its buffer up',
    },
    'census.ts NAMED_MAX': { what: 'Damaged blocks that are named', past: 'only counted' },
    'check-notes.ts NOTES_MAX': {
      what: 'Checks not yet written down',
      past: 'written; a crash has them made again',
    },
    'disk-blockstore.ts BATCH_BLOCKS_MAX': {
      what: 'One group commit',
      past: 'the rest goes into the next one',
    },
    'disk-blockstore.ts BATCH_SIZE_MAX_BYTES': {
      what: 'One group commit',
      past: 'the rest goes into the next one',
    },
    'disk-blockstore.ts LARGE_READS_MAX': {
      what: 'Reads of blocks above 1 MiB at once',
      past: 'they wait, then as above',
    },
    'domain.ts LAYERS_MAX': {
      what: 'Layers below a folder that are followed to its disk',
      past: 'the disk is unknown; a longer name is replaced by its hash',
    },
    'domain.ts NAME_MAX_CHARS': {
      what: 'Layers below a folder that are followed to its disk',
      past: 'the disk is unknown; a longer name is replaced by its hash',
    },
    'have-maps.ts BITS_MAX_CHARS': {
      what: 'The same: size (`BITS_MAX_CHARS`, 16 Mi characters of bits)',
      past: 'the rest is `unread`',
    },
    'have-maps.ts HAVE_MAPS_TIMEOUT_MS': {
      what: 'Have-maps in one call: time',
      past: 'the rest is `unread`',
    },
    'have-maps.ts READS_MAX': { what: 'The same: read side by side', past: 'the others wait' },
    'heal.ts RETRY_DELAY_MAX_MS': {
      what: 'Before a damaged block is asked for again',
      past: 'does not grow further',
    },
    'leases.ts GIVEN_UP_LEASES_MAX': {
      what: 'Given-up leases remembered',
      past: 'the oldest is forgotten: a put that comes as late as that lives until its lease is idle',
    },
    'make-room.ts AHEAD_SHARE': {
      what: 'Room made at once at the cost of deleted files (`AHEAD_SHARE`, 1 % of the capacity, or what is lacking)',
      past: 'the other deleted files stay',
    },
    'prove-blocks.ts CALLS_MAX': {
      what: 'Calls for proofs at once (`CALLS_MAX`, 16 of other peers, and 16 of our own services, of which `OWN_WAITING_MAX`, 512 wait; each of up to 64 blocks, and 16 KiB of each)',
      past: '503 `overloaded`; nothing counts as proved',
    },
    'prove-blocks.ts OWN_WAITING_MAX': {
      what: 'Calls for proofs at once (`CALLS_MAX`, 16 of other peers, and 16 of our own services, of which `OWN_WAITING_MAX`, 512 wait; each of up to 64 blocks, and 16 KiB of each)',
      past: '503 `overloaded`; nothing counts as proved',
    },
    'reach.ts LOWERED_ROOTS_MAX': {
      what: 'Files reported to transfer after a round',
      past: 'they are looked at in their own time',
    },
    'records.ts SMALL_BLOCK_SIZE_MAX_BYTES': {
      what: 'Block kept as a row',
      past: 'kept as a file',
    },
    'room.ts DISK_FIGURE_MAX_MS': { what: "Age of the disk's figure", past: 'read again' },
    'body.ts BATCH_SIZE_MAX_BYTES': { what: 'Body of a batch', past: '413' },
    'body.ts LARGE_BODIES_MAX': {
      what: 'Bodies above 1 MiB, or of unknown size, at once',
      past: 'they wait, then as above',
    },
    'put-or-make-room.ts ROOM_WAIT_MAX_MS': {
      what: 'Wait of a block for room that deleted files give up',
      past: '507 `storage-full`; the purge goes on',
    },
    'scrub.ts PAUSE_MAX_MS': {
      what: 'Scrub on a busy store (waits up to `YIELD_MAX_MS`, 200 ms, before each block; `PAUSE_MAX_MS`, 10 min, between two times round)',
      past: 'goes on all the same',
    },
    'scrub.ts YIELD_MAX_MS': {
      what: 'Scrub on a busy store (waits up to `YIELD_MAX_MS`, 200 ms, before each block; `PAUSE_MAX_MS`, 10 min, between two times round)',
      past: 'goes on all the same',
    },
    'upkeep.ts COPY_TIMEOUT_MS': { what: 'Copying a batch of damaged blocks', past: 'tried again' },
  },
  'services/transfer': {
    'accept-replicas.ts OFFERS_MAX': {
      what: 'Offers accepted at once',
      past: '503 `overloaded`; the next peer in the order stands in',
    },
    'alternates.ts DUPLICATES_MAX': {
      what: 'Other addresses in one Link header',
      past: 'left out',
    },
    'alternates.ts TORRENT_PIECES_MAX': {
      what: 'Pieces of a torrent',
      past: '409 `description-impossible`; no Link to it',
    },
    'alternates.ts URLS_MAX': {
      what: 'Addresses in one torrent or Metalink',
      past: 'the others are left out',
    },
    'any-blocks.ts NODES_CACHED_MAX_BYTES': {
      what: 'Nodes in memory',
      past: 'the least recently used go',
    },
    'car-export.ts SEEN_MAX': {
      what: 'Blocks of one CAR with `dups=n`',
      past: 'the CAR breaks off; ask with `car-dups=y`',
    },
    'copy-blocks.ts CALLS_MAX': {
      what: 'Calls to replace blocks',
      past: '503 `overloaded`; storage asks again',
    },
    'blame.ts BLAMED_MAX': {
      what: 'Blocks that a member is blamed for after an offer or a drop (`BLAMED_MAX`, 8; `BLAMINGS_MAX`, 8, such questions at once)',
      past: 'none of it counts, and nobody is blamed for the rest',
    },
    'blame.ts BLAMINGS_MAX': {
      what: 'Blocks that a member is blamed for after an offer or a drop (`BLAMED_MAX`, 8; `BLAMINGS_MAX`, 8, such questions at once)',
      past: 'none of it counts, and nobody is blamed for the rest',
    },
    'blame.ts CHECK_TIMEOUT_MS': {
      what: 'Re-hash of our own block before that, and report of it',
      past: 'nobody is blamed',
    },
    'proof-reports.ts REPORT_TIMEOUT_MS': {
      what: 'Re-hash of our own block before that, and report of it',
      past: 'nobody is blamed',
    },
    'describe-file.ts METALINK_PIECES_MAX': {
      what: 'Pieces in a Metalink',
      past: 'the Metalink has the whole file’s hash alone',
    },
    'directory.ts LOOKED_INTO_MAX': {
      what: 'Entries of a listing that are looked into',
      past: 'the rest is shown without telling directories from files',
    },
    'drain.ts FLAG_TIMEOUT_MS': {
      what: 'Look at what is left to drain (`LOOK_TIMEOUT_MS`, 10 min; `FLAG_TIMEOUT_MS`, 3 s, until the flag is seen)',
      past: '503 `service-unavailable`',
    },
    'drain.ts LOOK_TIMEOUT_MS': {
      what: 'Look at what is left to drain (`LOOK_TIMEOUT_MS`, 10 min; `FLAG_TIMEOUT_MS`, 3 s, until the flag is seen)',
      past: '503 `service-unavailable`',
    },
    'drain.ts PROVED_MAX': {
      what: 'Manifest nodes remembered as proved, while draining',
      past: 'asked about again',
    },
    'drop-surplus.ts UNRETIRE_TIMEOUT_MS': {
      what: 'Taking a drop back',
      past: 'the blocks stay retired until storage restarts',
    },
    'pins.ts AWAY_MAX_MS': {
      what: 'Our discovery is away when a file is asked for',
      past: '503 `service-unavailable`',
    },
    'hand-over.ts FILES_MAX': {
      what: 'Files looked at for that (`FILES_MAX`, 20,000; `ORDERLY_TIMEOUT_MS`, 200 ms, for files in order)',
      past: 'not looked at',
    },
    'hand-over.ts ORDERLY_TIMEOUT_MS': {
      what: 'Files looked at for that (`FILES_MAX`, 20,000; `ORDERLY_TIMEOUT_MS`, 200 ms, for files in order)',
      past: 'not looked at',
    },
    'hash-pieces.ts HASHINGS_AT_ONCE_MAX': {
      what: 'Files hashed at once',
      past: 'others wait their turn',
    },
    'hash-pieces.ts HASHINGS_MAX': {
      what: 'Files that wait or are hashed',
      past: 'shared by client; 503 `overloaded`',
    },
    'hash-pieces.ts HASHING_GRACE_MS': {
      what: 'Hashing while others have no turn',
      past: 'it gives way; asked again, it begins anew',
    },
    'hash-pieces.ts TURN_WAIT_MAX_MS': {
      what: 'Wait for a turn to be hashed',
      past: '503 `overloaded`',
    },
    'hash-pieces.ts UNWANTED_MAX_MS': { what: 'Hashing that nobody waits for', past: 'given up' },
    'hash-pieces.ts WAIT_MAX_MS': {
      what: 'Waiting for digests',
      past: '503 `description-not-ready`; the work goes on',
    },
    'locate.ts HAVE_TIMEOUT_MS': {
      what: 'A member’s answer whether it holds a block',
      past: 'counts as "does not have it"',
    },
    'headers.ts PATH_HEADERS_MAX_LENGTH': {
      what: 'Path and roots in the head of any other answer',
      past: 'left out',
    },
    'holdings.ts BLOCKS_PER_QUESTION_MAX': {
      what: 'Who else holds a file (`WANT_TIMEOUT_MS`, 1.5 s; `BLOCKS_PER_QUESTION_MAX`, 8 Mi blocks a question)',
      past: 'no answer is a "no"; another question',
    },
    'holdings.ts WANT_TIMEOUT_MS': {
      what: 'Who else holds a file (`WANT_TIMEOUT_MS`, 1.5 s; `BLOCKS_PER_QUESTION_MAX`, 8 Mi blocks a question)',
      past: 'no answer is a "no"; another question',
    },
    'incoming.ts ARRIVED_MAX': {
      what: 'Blocks remembered as just arrived',
      past: 'a second copy may be fetched',
    },
    'listed-blocks.ts RETRY_FOR_MS': {
      what: 'Block that nobody gives',
      past: '503 `block-unavailable`, or the connection breaks when bytes were sent',
    },
    'have-maps.ts WANT_TIMEOUT_MS': {
      what: 'Waiting for who holds what (`WANT_TIMEOUT_MS`, 1 s; again after `WANT_INTERVAL_MS`, 500 ms)',
      past: 'placement alone says whom to ask',
    },
    'manifests.ts ENTRIES_CACHED_MAX': {
      what: 'Listings kept in memory (`ENTRIES_CACHED_MAX`, 65,536 blocks; one file at most half)',
      past: 'the manifest is read again',
    },
    'manifests.ts LISTED_NODES_MAX_BYTES': {
      what: 'Nodes kept while a file is listed',
      past: 'the least recently used are read and put again',
    },
    'negotiate.ts RANGES_MAX': {
      what: 'Kinds in one Accept header that are looked at',
      past: 'the rest is ignored',
    },
    'path.ts SEGMENTS_MAX': { what: 'Path', past: '400' },
    'piece-store.ts STORE_SIZE_MAX_BYTES': {
      what: 'Digests kept (`STORE_SIZE_MAX_BYTES`, 64 MiB, each counted as at least 4 KiB)',
      past: 'the least recently used go',
    },
    'raw-block.ts PATH_HEADERS_MAX_LENGTH': {
      what: 'Path and roots in the head of a block’s answer (`PATH_HEADERS_MAX_LENGTH`, 480 characters, so that the head stays below 2 KiB)',
      past: 'left out',
    },
    'read-budget.ts LEAF_FETCH_COST_BYTES': {
      what: 'A leaf of such a DAG, however small (counts as `LEAF_FETCH_COST_BYTES`, 16 KiB)',
      past: '422 `manifest-invalid`; an answer that has begun breaks off',
    },
    'read-budget.ts LINKS_MAX': {
      what: 'Links of nodes in memory, over all requests (`LINKS_MAX`, 512 Ki; past it, each no more than its share)',
      past: '503 `overloaded`; an answer that has begun breaks off',
    },
    'read-budget.ts LINKS_USUAL_MAX': {
      what: 'A link of a node that was read (counts for `READ_LINK_WEIGHT`, 4, when it has more than `LINKS_USUAL_MAX`, 1024)',
      past: '503 `overloaded`; an answer that has begun breaks off',
    },
    'read-budget.ts READ_FREE_MAX_BYTES': {
      what: 'Nodes read for a DAG that no pin keeps (`READ_FREE_MAX_BYTES`, 16 MiB; past it, `READ_PER_BYTE_MAX`, 16, bytes for each that was sent)',
      past: '422 `manifest-invalid`; an answer that has begun breaks off',
    },
    'read-budget.ts READ_LINK_WEIGHT': {
      what: 'A link of a node that was read (counts for `READ_LINK_WEIGHT`, 4, when it has more than `LINKS_USUAL_MAX`, 1024)',
      past: '503 `overloaded`; an answer that has begun breaks off',
    },
    'read-budget.ts READ_PER_BYTE_MAX': {
      what: 'Nodes read for a DAG that no pin keeps (`READ_FREE_MAX_BYTES`, 16 MiB; past it, `READ_PER_BYTE_MAX`, 16, bytes for each that was sent)',
      past: '422 `manifest-invalid`; an answer that has begun breaks off',
    },
    'read-budget.ts SILENCE_MAX_MS': {
      what: 'Walk of such a DAG without a byte to send',
      past: 'the same',
    },
    'end-leases.ts RELEASED_MAX': {
      what: 'Released leases remembered',
      past: 'a late offer opens the lease again, until it is idle for long',
    },
    'replicate.ts OFFER_TIMEOUT_MS': {
      what: 'Answer to an offer',
      past: 'the next peer in the order stands in',
    },
    'report-corrupt.ts REPORTS_MAX': {
      what: 'Reports of wrong bytes under way (`REPORTS_MAX`, 16, each of `REPORT_TIMEOUT_MS`, 10 s)',
      past: 'not reported; the next reader meets them',
    },
    'report-corrupt.ts REPORT_TIMEOUT_MS': {
      what: 'Reports of wrong bytes under way (`REPORTS_MAX`, 16, each of `REPORT_TIMEOUT_MS`, 10 s)',
      past: 'not reported; the next reader meets them',
    },
    'send-body.ts FLUSH_MAX_MS': {
      what: 'Waiting for what was right to go out before an answer is broken off',
      past: 'broken off',
    },
    'send-body.ts PLACE_WAIT_MS': {
      what: 'Wait for a place among downloads of one client',
      past: '503 `overloaded`',
    },
    'retries.ts RETRIES_MAX': {
      what: 'Files that wait for another try',
      past: 'left to the next pass',
    },
    'settle-loop.ts RETRY_DELAY_DRAINING_MAX_MS': {
      what: 'The same, while this peer drains',
      past: 'does not grow further',
    },
    'settle-loop.ts RETRY_DELAY_MAX_MS': {
      what: 'Before an unsettled file is looked at again',
      past: 'does not grow further',
    },
    'settled-files.ts SETTLED_MAX': {
      what: 'Files remembered as settled',
      past: 'the oldest is looked at again in the next pass',
    },
    'settle-loop.ts SETTLES_MAX': {
      what: 'Files settled at once, for all that ask',
      past: 'they wait',
    },
    'settle-pass.ts WINDOW_FILES_MAX': { what: 'Files ordered together', past: 'the next window' },
    'shared-blocks.ts FETCHES_MAX': {
      what: 'Blocks looked for at once',
      past: 'shared by client; 503 `overloaded`',
    },
    'start.ts IDLE_BUFFERS_MAX': { what: 'Buffers kept', past: 'given back to the system' },
    'workers.ts SETTLE_JOBS_MAX': {
      what: 'Files settled at once, from the queue',
      past: 'they wait in Redis',
    },
    'any-blocks.ts ABSENT_MAX': {
      what: 'Blocks remembered as absent (`ABSENT_MAX`, 4096, for 1 s)',
      past: 'asked for again',
    },
    'tar-entries.ts TAR_PATH_MAX_BYTES': {
      what: 'Path of an entry of a TAR',
      past: '422, or the TAR breaks off',
    },
    'window.ts WINDOW_MIN_BLOCKS': {
      what: 'Blocks in flight when a download begins',
      past: 'waits for its reader',
    },
  },
};

/** By name: what a setting is, its own comment says. */
export const SETTING_NOTES: Readonly<Record<string, string>> = {
  CHUNKER_BODY_RATE_MIN_BYTES:
    '408 `body-too-slow`, nothing is kept. Time in which we hold it back does not count',
  CHUNKER_BODY_RATE_WINDOW_MS:
    '408 `body-too-slow`, nothing is kept. Time in which we hold it back does not count',
  CHUNKER_COPIES_TIMEOUT_MS: '202 with the copies that are confirmed',
  CHUNKER_DAG_BLOCKS_MAX: 'not kept: 422 `manifest-invalid`',
  CHUNKER_DIRECTORY_FILES_MAX: '400; nothing is kept',
  CHUNKER_FORM_FILES_MAX: '400 `multipart-malformed`, none is kept',
  CHUNKER_IMPORTS_MAX: '503 `overloaded`',
  CHUNKER_PIN_TIMEOUT_MS:
    '503; nothing is kept, unless discovery may have taken the pin: then the blocks stay',
  CHUNKER_PUTS_MAX: 'the body is held back',
  CHUNKER_TUS_EXPIRES_MS: 'given up, its blocks go; 410, later 404',
  CHUNKER_TUS_SIZE_MAX_BYTES: '413',
  CHUNKER_TUS_UPLOADS_MAX: '503 `overloaded`',
  CHUNKER_UPLOADS_MAX: '503 `overloaded`',
  DISCOVERY_EXPIRY_SLACK_MS: 'the sweep may take them',
  DISCOVERY_PING_MS: 'the member is a suspect',
  DISCOVERY_PROOF_INTERVAL_MS: 'damage and lies are found later',
  DISCOVERY_UNDELETE_MS: 'it is purged: the next two sweeps free its bytes',
  GATEWAY_ANSWER_TIMEOUT_MS: '503 `service-unavailable`',
  GATEWAY_BODY_BEGIN_TIMEOUT_MS: '408 `body-too-slow`',
  GATEWAY_BODY_IDLE_TIMEOUT_MS: 'the connection breaks; 408',
  GATEWAY_EVENTS_CLIENTS_MAX: '503 `overloaded`',
  GATEWAY_REQUESTS_MAX: '503 `overloaded`',
  GATEWAY_UPLOAD_ANSWER_TIMEOUT_MS:
    '503 `service-unavailable`; the upload itself may still succeed',
  MEMBER_OUT_AFTER_MS: 'the member is out: its blocks are copied elsewhere',
  SHUTDOWN_TIMEOUT_MS: 'the process ends with code 1',
  STORAGE_CAPACITY_BYTES: '507 `storage-full`',
  STORAGE_LEASE_IDLE_MS: 'blocks that only it held are deleted; the sweep takes them',
  STORAGE_LISTING_BLOCKS_MAX: 'the least used are read again; a longer file is read each time',
  STORAGE_READS_MAX: 'the one with fewest is next; 503 `overloaded`; readers go to another peer',
  STORAGE_REPAIR_RESERVE_SHARE: '507 `storage-full` for uploads',
  STORAGE_RESERVE_BYTES: '507 `storage-full`; deleting still works',
  STORAGE_SCRUB_BYTES_PER_SECOND: 'blocks are overdue, and counted as such',
  STORAGE_SCRUB_INTERVAL_MS: 'blocks are overdue, and counted as such',
  STORAGE_STALL_TIMEOUT_MS: '408 on its way in, the connection is closed on its way out',
  STORAGE_SWEEP_GRACE_MS: 'looked at in the next round',
  STORAGE_SWEEP_INTERVAL_MS: 'looked at in the next round',
  STORAGE_WAITING_MAX:
    '503 `overloaded`; the one with fewest is next; 503 `overloaded`; readers go to another peer',
  STORAGE_WRITES_MAX: '503 `overloaded`',
  TRANSFER_BLOCK_STALL_MS: 'the next provider is asked',
  TRANSFER_BLOCK_TIMEOUT_MS: 'the next provider is asked',
  TRANSFER_CAR_EXPORTS_MAX: '503 `overloaded`',
  TRANSFER_COPIES_MAX: 'they wait',
  TRANSFER_DOWNLOADS_MAX: '503 `overloaded`',
  TRANSFER_DOWNLOAD_WINDOW_BLOCKS: 'waits for its reader',
  TRANSFER_HANDOVER_TIMEOUT_MS: 'stops all the same, and warns',
  TRANSFER_RAW_BLOCKS_MAX: '503 `overloaded`',
  TRANSFER_READER_STALL_MS: 'disconnected',
  TRANSFER_REPAIRS_MAX: 'they wait',
  TRANSFER_REPAIR_BYTES_PER_SECOND: 'they wait',
  TRANSFER_REPLICATE_JOBS_MAX: 'they wait in Redis',
  TRANSFER_RESETTLE_MS: 'looked at again',
  TRANSFER_SETTLE_INTERVAL_MS: 'looked at',
  TRANSFER_WINDOW_BLOCKS: 'shared out; with more downloads, none',
  WRITE_TOKEN: 'the service does not start',
};

/** Limits that no constant holds alone. */
export const OTHERS: readonly (Note & { readonly bound: string; readonly source: string })[] = [
  {
    what: 'Tries of a job',
    bound: '5, the pause doubles from 500 ms',
    source: 'packages/chassis/src/redis/queue.ts',
    past: 'it is given up; settling does its work from disk',
  },
  {
    what: 'Who waits for such a place',
    bound: 'as many as there are places; then one of the client of whom most wait goes',
    source: 'packages/chassis/src/shares/shares.ts',
    past: '503 `overloaded`',
  },
  {
    what: 'Length of an upload',
    bound: 'none',
    source: 'packages/chassis/src/shares/rate-rule.ts',
    past: 'only the rate is judged',
  },
  {
    what: 'Wrong bytes',
    bound: 'one block',
    source: 'packages/swarm/src/rank.ts',
    past: 'the peer is asked last for `BAN_TIME_MS`, 10 min',
  },
  {
    what: 'Filter text',
    bound: '1024 characters',
    source: 'packages/protocol/src/routes/routing.ts',
    past: '400',
  },
];
