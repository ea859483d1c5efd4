#include "path/probe_cipher.hh"

#include "base/check.hh"

namespace dh::path {

ProbeCipher::ProbeCipher(const ProbeKeys& keys)
    : seal_(make_aead(AeadKind::ChaCha20Poly1305, keys.send)),
      open_(make_aead(AeadKind::ChaCha20Poly1305, keys.receive)),
      local_index_(keys.local_index),
      peer_index_(keys.peer_index),
      dialer_(keys.dialer),
      listener_(keys.listener) {}

Bytes ProbeCipher::associated_data(const wire::ProbeHeader& header) const {
  Bytes out;
  Writer writer(out);
  header.serialize(writer);
  writer.bytes(dialer_.bytes);
  writer.bytes(listener_.bytes);
  return out;
}

void ProbeCipher::seal(const wire::ProbeBody& body, ByteSpan out, std::size_t size) {
  CHECK(size >= wire::kProbeSize && size <= wire::kMaxProbeSize && out.size() >= size);
  const wire::ProbeHeader header{peer_index_, next_counter_++};
  Bytes plain, front;
  Writer writer(plain), front_writer(front);
  body.serialize(writer);
  writer.zeros(size - wire::kProbeSize);
  header.serialize(front_writer);
  std::memcpy(out.data(), front.data(), front.size());
  seal_->seal(counter_nonce(header.counter), associated_data(header), plain,
              out.subspan(front.size(), plain.size() + Aead::kTagSize));
}

ProbeCipher::Opened ProbeCipher::unseal(ByteView datagram) {
  const auto header = wire::ProbeHeader::parse(datagram);
  if (!header || header->receiver_index != local_index_) return {};
  Bytes plain(datagram.size() - wire::ProbeHeader::kSize - Aead::kTagSize);
  if (!open_->open(counter_nonce(header->counter), associated_data(*header),
                   datagram.subspan(wire::ProbeHeader::kSize), plain))
    return {Verdict::Forged, {}};
  if (!replay_.accept(header->counter)) return {Verdict::Replayed, {}};
  const auto body = wire::ProbeBody::parse(plain);
  if (!body) return {Verdict::NotForUs, {}};
  return {Verdict::Opened, *body};
}

}  // namespace dh::path
