//! What one of each thing costs, as it was measured: docs/growth.md tells how, and what of it depends on the machine.

/// What a host asks of Redis for a published message: commands, the swap's script and the one that tells counted once.
pub(super) const PUBLISH_COMMANDS: f64 = 5.0;
/// Bytes that Redis sends and takes for a published message, of a channel whose tail is about half full.
pub(super) const PUBLISH_BYTES: f64 = 28_000.0;
/// What a feed asks when it is woken, or looks by itself.
pub(super) const READ_COMMANDS: f64 = 1.0;
/// The same in bytes: the tail of a channel that is about half full.
pub(super) const READ_BYTES: f64 = 9_700.0;

/// Redis' processor time for a published message, but for those who are told, in microseconds.
pub(super) const REDIS_PUBLISH_US: f64 = 150.0;
/// For a read of a tail.
pub(super) const REDIS_READ_US: f64 = 7.0;
/// For each node that is told a name.
pub(super) const REDIS_TELL_US: f64 = 0.7;
/// Bytes of a message to one node that tells it a name.
pub(super) const TELL_BYTES: f64 = 110.0;
/// Bytes of Redis' memory for a stored message, with its ids.
pub(super) const STORED_BYTES: f64 = 355.0;

/// A host's processor time for a message that it takes, in microseconds.
pub(super) const NODE_PUBLISH_US: f64 = 480.0;
/// For a feed that is woken, reads, and has somebody to tell.
pub(super) const NODE_WAKE_US: f64 = 220.0;
/// For a feed that looks and finds nothing.
pub(super) const NODE_LOOK_US: f64 = 130.0;
/// For a name that another node tells and nobody here waits for.
pub(super) const NODE_NAME_US: f64 = 2.0;
/// For one delivery, by a stream or a socket.
pub(super) const NODE_DELIVERY_US: f64 = 6.0;
/// For a held poll that is answered, and asked again.
pub(super) const NODE_POLL_US: f64 = 120.0;
/// For a connection on which nothing happens, in a second: beats, and looking for who is gone.
pub(super) const NODE_IDLE_US: f64 = 18.0;

/// A host's memory for a connection, in bytes.
pub(super) const CONNECTION_BYTES: f64 = 30_000.0;
/// For a room that one of its instances follows, without what its log holds.
pub(super) const FEED_BYTES: f64 = 6_000.0;
/// For one more message in the logs of an instance.
pub(super) const LOGGED_BYTES: f64 = 1_000.0;
/// The most that all logs of an instance have.
pub(super) const LOGS_BYTES: f64 = 15e6;
/// For a host that does nothing.
pub(super) const EMPTY_BYTES: f64 = 150e6;

/// A feed looks by itself after so many seconds without news: the backup of lost wakeups.
pub(super) const LOOK_SECONDS: f64 = 15.0;

/// Directories and marks are read again after so many seconds, and leases every so many.
pub(super) const STATE_SECONDS: f64 = 8.0;
pub(super) const LEASE_SECONDS: f64 = 1.5;
/// A host's processor time for a directory, or for marks, in which nothing changed.
pub(super) const NODE_STATE_US: f64 = 290.0;
/// Bytes of such a question, and of its answer.
pub(super) const STATE_BYTES: f64 = 2_000.0;
/// Estimates, as what is below: Redis' time for one of these, and for a lease that is read or counted up.
pub(super) const REDIS_STATE_US: f64 = 7.0;
pub(super) const REDIS_LEASE_US: f64 = 4.0;
/// Bytes of a lease's question, and of its answer.
pub(super) const LEASE_BYTES: f64 = 200.0;
