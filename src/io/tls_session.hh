#pragma once

// The server's side of TLS over memory: bytes from the socket go in, bytes for the socket come out, so one
// shared read buffer and one send call serve any number of records.

#include "base/bytes.hh"
#include "io/openssl.hh"
#include "io/tls_certificate.hh"

namespace dh::io {

/// One certificate and its settings: TLS 1.2 at least, ALPN `http/1.1` only, no session tickets, no
/// renegotiation. A resource.
class TlsServerContext {
public:
  /// `appended`: certificates (DER) sent behind the chain, such as the DERP meta certificate; never checked.
  /// Errors: throws std::runtime_error when chain and key are unusable or do not belong together.
  TlsServerContext(const TlsIdentity& identity, const std::vector<Bytes>& appended);

  const ByteArray<32>& pin() const { return pin_; }
  SSL_CTX* native() const { return context_.get(); }

private:
  SslContextPtr context_;
  ByteArray<32> pin_{};
};

/// One connection's TLS state. A resource.
class TlsSession {
public:
  explicit TlsSession(const TlsServerContext& context);

  enum class Status : std::uint8_t {
    Data,     // `size` bytes of plaintext were read
    Wanting,  // everything fed is used; more is needed from the peer
    Closed,   // the peer ended the stream properly
    Failed,   // handshake or record error: the alert, if any, is in `out`; the session is dead
  };
  struct ReadResult {
    Status status;
    std::size_t size = 0;
  };
  /// Gives bytes from the socket; they must live until read() says something else than Data.
  void feed(ByteView wire_bytes) { in_ = wire_bytes; }
  /// Appends to `out` what the handshake wants sent. Call until it stops returning Data.
  ReadResult read(ByteSpan into, Bytes& out);
  /// Appends `plain` to `out` as records of up to 16 KiB. false: the session is dead. Only after the
  /// handshake.
  bool write(ByteView plain, Bytes& out);
  /// Appends close_notify.
  void close(Bytes& out);

private:
  friend struct SpanBio;
  SslPtr ssl_;
  ByteView in_;
  Bytes* out_ = nullptr;  // set during a call
  bool dead_ = false;
};

}  // namespace dh::io
