#include "io/tls_session.hh"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <openssl/pem.h>

#include "base/check.hh"

namespace dh::io {

// An OpenSSL BIO over TlsSession's span in and vector out: no copy in between, no buffer kept while idle.
struct SpanBio {
  static int read(BIO* bio, char* into, int size) {
    auto* session = static_cast<TlsSession*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (session->in_.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const std::size_t count = std::min(static_cast<std::size_t>(size), session->in_.size());
    std::memcpy(into, session->in_.data(), count);
    session->in_ = session->in_.subspan(count);
    return static_cast<int>(count);
  }
  static int write(BIO* bio, const char* from, int size) {
    auto* session = static_cast<TlsSession*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    CHECK(session->out_ != nullptr);
    const ByteView bytes(reinterpret_cast<const std::byte*>(from), static_cast<std::size_t>(size));
    session->out_->insert(session->out_->end(), bytes.begin(), bytes.end());
    return size;
  }
  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO_METHOD* method() {
    static BIO_METHOD* const kMethod = [] {  // lives as long as the process
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "span");
      CHECK(made != nullptr);
      BIO_meth_set_read(made, read);
      BIO_meth_set_write(made, write);
      BIO_meth_set_ctrl(made, control);
      return made;
    }();
    return kMethod;
  }
};

namespace {

void require(bool ok, const char* what) {
  if (!ok)
    throw std::runtime_error(fmt::format("TLS certificate unusable: {}: {}", what, take_openssl_error()));
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                unsigned in_size, void*) {
  static constexpr unsigned char kHttp11[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kHttp11, sizeof kHttp11 - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // offers only what cannot carry an upgrade, such as h2
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

TlsServerContext::TlsServerContext(const TlsIdentity& identity, const std::vector<Bytes>& appended)
    : context_(SSL_CTX_new(TLS_server_method())), pin_(certificate_pin(identity.certificate_chain_pem)) {
  SSL_CTX* const context = context_.get();
  require(context != nullptr, "context");
  require(SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1, "TLS 1.2");
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);  // an idle connection keeps no 16 KiB record buffers
  SSL_CTX_set_alpn_select_cb(context, select_alpn, nullptr);

  const std::string& chain = identity.certificate_chain_pem;
  BioPtr bio(BIO_new_mem_buf(chain.data(), static_cast<int>(chain.size())));
  X509Ptr leaf(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  require(leaf != nullptr && SSL_CTX_use_certificate(context, leaf.get()) == 1, "certificate");
  const auto append = [context](X509Ptr certificate) {
    require(SSL_CTX_add_extra_chain_cert(context, certificate.get()) == 1, "chain");
    (void)certificate.release();  // the context owns it now
  };
  while (X509Ptr next{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) append(std::move(next));
  ERR_clear_error();  // the end of the PEM text counts as an error
  for (const Bytes& der : appended) {
    const unsigned char* at = as_uchar(ByteView(der));
    X509Ptr certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
    require(certificate != nullptr, "appended certificate");
    append(std::move(certificate));
  }

  const std::string& key_pem = identity.private_key_pem;
  BioPtr key_bio(BIO_new_mem_buf(key_pem.data(), static_cast<int>(key_pem.size())));
  PkeyPtr key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  require(key != nullptr, "private key");
  require(SSL_CTX_use_PrivateKey(context, key.get()) == 1, "private key");
  require(SSL_CTX_check_private_key(context) == 1, "certificate and private key do not belong together");
}

TlsSession::TlsSession(const TlsServerContext& context) : ssl_(SSL_new(context.native())) {
  if (!ssl_) throw std::bad_alloc();
  BIO* bio = BIO_new(SpanBio::method());
  if (bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_accept_state(ssl_.get());
}

TlsSession::ReadResult TlsSession::read(ByteSpan into, Bytes& out) {
  if (dead_) return {Status::Failed};
  out_ = &out;
  ERR_clear_error();
  std::size_t size = 0;
  const int result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &size);
  const int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), result);
  out_ = nullptr;
  switch (error) {
    case SSL_ERROR_NONE:
      return {Status::Data, size};
    case SSL_ERROR_WANT_READ:
      return {Status::Wanting};
    case SSL_ERROR_ZERO_RETURN:
      return {Status::Closed};
    default:
      ERR_clear_error();
      dead_ = true;
      return {Status::Failed};
  }
}

bool TlsSession::write(ByteView plain, Bytes& out) {
  if (dead_ || plain.empty()) return !dead_;
  out_ = &out;
  ERR_clear_error();
  std::size_t size = 0;
  const int result = SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &size);
  out_ = nullptr;
  dead_ = result != 1 || size != plain.size();
  return !dead_;
}

void TlsSession::close(Bytes& out) {
  if (dead_) return;
  out_ = &out;
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
  out_ = nullptr;
}

}  // namespace dh::io
