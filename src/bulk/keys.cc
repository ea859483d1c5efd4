#include "bulk/keys.hh"

#include "base/check.hh"
#include "crypto/hash.hh"

namespace dh::bulk {
namespace {

Secret<64> path_secret(const StreamConfig& config, Direction direction, PathId path) {
  Bytes info = to_bytes(as_bytes("bulk path"));
  info.push_back(static_cast<std::byte>(direction));
  info.push_back(static_cast<std::byte>(path));
  return hkdf_expand<64>(config.secret, info);
}

}  // namespace

KeyChain::KeyChain(const StreamConfig& config, Direction direction, PathId path)
    : kind_(config.aead), secret_(path_secret(config, direction, path)) {}

KeyChain::Epoch KeyChain::next() {
  Epoch epoch;
  epoch.aead = make_aead(kind_, hkdf_expand<Aead::kKeySize>(secret_, as_bytes("bulk key")));
  const auto iv = hkdf_expand<Aead::kNonceSize>(secret_, as_bytes("bulk iv"));
  std::memcpy(epoch.iv.data(), iv.expose().data(), Aead::kNonceSize);
  secret_ = hkdf_expand<64>(secret_, as_bytes("bulk ku"));
  return epoch;
}

Aead::Nonce KeyChain::Epoch::nonce(std::uint64_t packet_number) const {
  Aead::Nonce nonce = iv;
  store_be64(nonce.data() + 4, load_be64(nonce.data() + 4) ^ packet_number);
  return nonce;
}

PacketSealer::PacketSealer(const StreamConfig& config, Direction direction, PathId path)
    : chain_(config, direction, path),
      epoch_(chain_.next()),
      update_after_(config.key_update_packets != 0 ? config.key_update_packets : kKeyUpdatePacketsSmall),
      connection_id_(config.peer_connection_id),
      path_(path) {}

std::size_t PacketSealer::seal(ByteSpan out, std::size_t plain_size, bool ack_me, bool end_of_burst) {
  constexpr std::size_t kHeader = wire::BulkHeader::kSize;
  CHECK(out.size() >= kHeader + plain_size + Aead::kTagSize);
  CHECK(next_number_ < wire::BulkHeader::kMaxPacketNumber);
  if (confirmed_ && sealed_ >= update_after_) {
    epoch_ = chain_.next();
    ++epoch_number_;
    epoch_start_ = next_number_;
    sealed_ = 0;
    confirmed_ = false;
  }
  const std::size_t size = kHeader + plain_size + Aead::kTagSize;
  sealed_ += size > kSmallPacketBytes ? kLargePacketWeight : 1;
  wire::BulkHeader header;
  header.key_phase = (epoch_number_ & 1) != 0;
  header.ack_me = ack_me;
  header.end_of_burst = end_of_burst;
  header.path = path_;
  header.connection_id = connection_id_;
  header.packet_number = next_number_++;
  header.store(out.data());
  epoch_.aead->seal(epoch_.nonce(header.packet_number), out.first(kHeader), out.subspan(kHeader, plain_size),
                    out.subspan(kHeader, size - kHeader));
  return size;
}

void PacketSealer::on_acked(std::uint64_t number) {
  if (number >= epoch_start_ && number < next_number_) confirmed_ = true;
}

PacketOpener::PacketOpener(const StreamConfig& config, Direction direction, PathId path)
    : chain_(config, direction, path), current_(chain_.next()), next_(chain_.next()) {}

PacketOpener::Result PacketOpener::unseal(const wire::BulkHeader& header, ByteSpan datagram,
                                          Duration old_key_life, Instant now, ByteSpan& plain) {
  constexpr std::size_t kHeader = wire::BulkHeader::kSize;
  if (datagram.size() < kHeader + Aead::kTagSize) return Result::Forged;
  const std::uint64_t number = header.packet_number;
  switch (window_.verdict(number)) {
    case ReplayWindow::Verdict::Repeated:
      return Result::Repeated;
    case ReplayWindow::Verdict::TooOld:
      return Result::TooOld;
    case ReplayWindow::Verdict::Fresh:
      break;
  }
  // Opening is in place, so there is one try: numbers and epochs rise together, which tells the key.
  if (previous_.aead && now >= previous_until_) previous_ = {};
  const bool same_phase = header.key_phase == ((epoch_number_ & 1) != 0);
  const bool older = !same_phase && epoch_number_ > 0 && number < epoch_start_;
  if (older && !previous_.aead) return Result::TooOld;
  const KeyChain::Epoch& epoch = same_phase ? current_ : older ? previous_ : next_;
  const ByteSpan sealed = datagram.subspan(kHeader);
  plain = sealed.first(sealed.size() - Aead::kTagSize);
  if (!epoch.aead->open(epoch.nonce(number), datagram.first(kHeader), sealed, plain)) return Result::Forged;

  window_.mark(number);
  if (same_phase) {
    epoch_start_ = std::min(epoch_start_, number);
  } else if (!older) {
    previous_ = std::move(current_);
    previous_until_ = now + old_key_life;
    current_ = std::move(next_);
    next_ = chain_.next();
    ++epoch_number_;
    epoch_start_ = number;
  }
  return Result::Opened;
}

}  // namespace dh::bulk
