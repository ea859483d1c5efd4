#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

#include "base/bytes.hh"
#include "base/rng.hh"
#include "base/time.hh"
#include "crypto/aead.hh"
#include "crypto/secret.hh"
#include "quic/limits.hh"

namespace dh::quic {

using StreamId = std::int64_t;

/// Which congestion control of ngtcp2 sends. Bbr: losses of a bad path do not slow it down, as they do Cubic.
enum class Controller : std::uint8_t { Bbr, Bbr2, Cubic };

/// Whose code seals the packets of an established connection: the bytes are the same.
enum class PacketCiphers : std::uint8_t {
  Own,     // the fastest that this CPU runs
  Gnutls,  // like the handshake's: for comparisons
};

struct Config {
  bool server = false;
  Secret<32> psk;                       // one connection, one direction of roles (RFC 9257)
  ByteArray<16> first_connection_id{};  // of the client's Initial packets; others get silence
  std::uint32_t index = 0;              // server: its connection ids begin with it, so that datagrams find it
  std::size_t datagram_bytes = kMinDatagramBytes;
  std::optional<Duration> rtt;  // of the path, where it is known before the first packet
  Controller controller = Controller::Bbr;
  PacketCiphers ciphers = PacketCiphers::Own;
  bool prefers_aes = cpu_has_aes();  // AES is used if both do, else ChaCha20
};

/// Why a connection is over.
enum class CloseCause : std::uint8_t {
  ByPeer,    // it said so, with an application code
  ByUs,      // close()
  Silence,   // nothing was heard for kSilentIdle
  Protocol,  // one of the two broke QUIC's rules, or the handshake's: wrong secret, no forward secrecy
};
std::string_view to_string(CloseCause cause);

struct Established {};  // both ends have proved that they hold the secret
/// The peer opened a stream.
struct StreamOpened {
  StreamId stream;
};
/// There is something to read, or the end was reached: see readable() and at_end().
struct StreamReadable {
  StreamId stream;
};
/// writable() is not 0 any more.
struct StreamWritable {
  StreamId stream;
};
/// The peer gave up sending; what was not read is gone.
struct StreamReset {
  StreamId stream;
  std::uint64_t code;
};
/// The peer reads no more: told when there was something to send.
struct StreamStopped {
  StreamId stream;
};
struct StreamsAvailable {};  // open_stream() would work again
struct Closed {
  CloseCause cause;
  std::uint64_t code = 0;
};
using Event = std::variant<Established, StreamOpened, StreamReadable, StreamWritable, StreamReset,
                           StreamStopped, StreamsAvailable, Closed>;

struct Counters {
  std::uint64_t datagrams_in = 0, datagrams_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t foreign = 0;   // no QUIC, or an Initial with another connection id: answered with silence
  std::uint64_t refused = 0;   // handshakes with another secret: answered with silence
  std::uint64_t unplaced = 0;  // as good as lost: their stream had too many holes already
  std::uint64_t streams_opened = 0;  // by either side
  std::uint64_t streams_done = 0;
  std::uint64_t path_resets = 0;  // congestion state thrown away because the path is another one
};

/// What congestion control knows of the path in use.
struct PathFigures {
  Duration smoothed_rtt{};
  std::uint64_t window_bytes = 0, in_flight_bytes = 0;
  unsigned unanswered_probes = 0;  // sent in a row because nothing was acknowledged
};

/// One QUIC connection (RFC 9000) over datagrams that somebody else moves: ngtcp2 with GnuTLS as a core.
/// TLS 1.3 with a pre-shared key and always a fresh X25519 exchange (psk_dhe_ke), no certificates, tickets or
/// 0-RTT. Only the client opens streams, all bidirectional. GnuTLS draws the randomness of its handshake from
/// the system itself; everything else comes from `rng`.
///
/// The paths lie under the connection: for QUIC all datagrams travel between the same two ends. When the path
/// is another one, on_path_changed() makes the connection believe in a migration, which is how ngtcp2 throws
/// away what congestion control learned: the client migrates, the server sees a new address of its peer.
///
/// Contract: after every input drain poll_transmit and poll_event, then sleep until next_timeout().
/// Spec: docs/protocol/tunnel.md.
class Connection {
public:
  Connection(const Config& config, Instant now, Rng& rng);
  ~Connection();

  // Inputs. True: an authentic datagram of the peer.
  bool on_datagram(ByteView datagram, Instant now);
  void on_timeout(Instant now);
  /// Datagrams travel another way from now on, which carries this much.
  void on_path_changed(std::size_t datagram_bytes, Instant now);
  /// The same path carries more or less.
  void set_datagram_bytes(std::size_t datagram_bytes);

  // Streams. Unknown and released ids are nothing: empty, 0, ignored.
  std::optional<StreamId> open_stream();  // client; nullopt: too many are open, StreamsAvailable will come
  std::size_t write(StreamId stream, ByteView data);  // bytes accepted; fewer means the buffer is full
  std::size_t writable(StreamId stream) const;
  /// The same without a copy: where the next bytes may be put, in this order; then wrote(), always. Returns
  /// how many pieces there are. 0: the buffer is full.
  std::size_t rooms(StreamId stream, std::span<ByteSpan> out);
  void wrote(StreamId stream, std::size_t size);
  void finish(StreamId stream);              // nothing follows what was written
  ByteView readable(StreamId stream) const;  // the first piece of what has arrived in order
  /// The same for as many pieces as `out` has room for. Returns how many there are.
  std::size_t readable(StreamId stream, std::span<ByteView> out) const;
  void consume(StreamId stream, std::size_t size, Instant now);
  bool at_end(StreamId stream) const;               // the peer has finished and everything was consumed
  void reset(StreamId stream, std::uint64_t code);  // gives up sending
  void stop_sending(StreamId stream, std::uint64_t code);  // reads no more
  /// Nobody will ask for this stream again. What was written and finished still leaves; else reset it before.
  void release(StreamId stream, Instant now);

  /// Both directions go on with new keys, which happens by itself before a key has sealed too much. False:
  /// not now, the last change is not over.
  bool update_keys(Instant now);

  /// Tells the peer, once.
  void close(std::uint64_t code, Instant now);

  // Outputs.
  /// Builds the next datagram into `out` (at least the datagram size in force).
  std::optional<std::size_t> poll_transmit(ByteSpan out, Instant now);
  std::optional<Event> poll_event();
  std::optional<Instant> next_timeout() const;

  bool is_established() const;
  bool is_closed() const;
  std::optional<CloseCause> close_cause() const;  // as Closed said
  std::size_t open_streams() const;
  Counters counters() const;
  PathFigures path() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Whether a datagram may be QUIC's, by its first byte. All other datagrams of ours begin with 0b10.
bool looks_like_quic(ByteView datagram);
/// The index that a datagram to a server is for; nullopt: too short.
std::optional<std::uint32_t> server_index(ByteView datagram);

}  // namespace dh::quic
