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
  epoch.kind = kind_;
  epoch.key = hkdf_expand<Aead::kKeySize>(secret_, as_bytes("bulk key"));
  epoch.aead = make_aead(kind_, epoch.key);
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

KeyChain::Epoch KeyChain::Epoch::twin() const {
  Epoch copy = *this;
  if (aead) copy.aead = make_aead(kind, key);
  return copy;
}

void Seal::apply(ByteSpan datagram) const {
  constexpr std::size_t kHeader = wire::BulkHeader::kSize;
  const ByteSpan body = datagram.subspan(kHeader);
  aead_->seal(nonce_, datagram.first(kHeader), body.first(body.size() - Aead::kTagSize), body);
}

PacketSealer::PacketSealer(const StreamConfig& config, Direction direction, PathId path)
    : chain_(config, direction, path),
      epoch_(chain_.next()),
      update_after_(config.key_update_packets != 0 ? config.key_update_packets : kKeyUpdatePacketsSmall),
      connection_id_(config.peer_connection_id),
      path_(path) {}

std::size_t PacketSealer::seal(ByteSpan out, std::size_t plain_size, bool ack_me, bool end_of_burst) {
  const Prepared prepared = prepare(out, plain_size, ack_me, end_of_burst);
  prepared.seal.apply(out.first(prepared.size));
  return prepared.size;
}

PacketSealer::Prepared PacketSealer::prepare(ByteSpan out, std::size_t plain_size, bool ack_me,
                                             bool end_of_burst) {
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
  return {size, Seal(epoch_.aead, epoch_.nonce(header.packet_number))};
}

void PacketSealer::on_acked(std::uint64_t number) {
  if (number >= epoch_start_ && number < next_number_) confirmed_ = true;
}

namespace {

/// Numbers and epochs rise together, which tells the key of a packet whose phase is not the current one's.
/// -1, 0, +1: the previous, the current or the next epoch.
int epoch_offset(const wire::BulkHeader& header, std::uint64_t epoch_number, std::uint64_t epoch_start) {
  if (header.key_phase == ((epoch_number & 1) != 0)) return 0;
  return epoch_number > 0 && header.packet_number < epoch_start ? -1 : 1;
}

}  // namespace

std::optional<Opened> AheadOpener::unseal(ByteSpan datagram) {
  constexpr std::size_t kHeader = wire::BulkHeader::kSize;
  if (datagram.size() < kHeader + Aead::kTagSize) return std::nullopt;
  const auto header = wire::BulkHeader::parse(datagram);
  if (!header || header->path != path_) return std::nullopt;
  const int offset = epoch_offset(*header, epoch_number_, epoch_start_);
  const KeyChain::Epoch& epoch = offset == 0 ? current_ : offset < 0 ? previous_ : next_;
  if (!epoch.aead) return std::nullopt;
  const ByteSpan sealed = datagram.subspan(kHeader);
  Opened out{.epoch = epoch_number_ + static_cast<std::uint64_t>(offset)};
  out.genuine = epoch.aead->open(epoch.nonce(header->packet_number), datagram.first(kHeader), sealed,
                                 sealed.first(sealed.size() - Aead::kTagSize));
  return out;
}

PacketOpener::PacketOpener(const StreamConfig& config, Direction direction, PathId path)
    : path_(path), chain_(config, direction, path), current_(chain_.next()), next_(chain_.next()) {}

std::shared_ptr<AheadOpener> PacketOpener::ahead() const {
  auto out = std::make_shared<AheadOpener>();
  out->path_ = path_;
  out->epoch_number_ = epoch_number_;
  out->epoch_start_ = epoch_start_;
  out->previous_ = previous_.twin();
  out->current_ = current_.twin();
  out->next_ = next_.twin();
  return out;
}

PacketOpener::Result PacketOpener::unseal(const wire::BulkHeader& header, ByteSpan datagram,
                                          Duration old_key_life, Instant now, ByteSpan& plain,
                                          const std::optional<Opened>& ahead) {
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
  if (previous_.aead && now >= previous_until_) {
    previous_ = {};
    ++keys_version_;
  }
  // Opening is in place, so there is one try.
  const int offset = epoch_offset(header, epoch_number_, epoch_start_);
  if (offset < 0 && !previous_.aead) return Result::TooOld;
  const ByteSpan sealed = datagram.subspan(kHeader);
  plain = sealed.first(sealed.size() - Aead::kTagSize);
  if (ahead) {
    // Another epoch than the one it must be: from before the last update, or with a forged phase bit.
    if (!ahead->genuine || ahead->epoch != epoch_number_ + static_cast<std::uint64_t>(offset))
      return Result::Forged;
  } else {
    const KeyChain::Epoch& epoch = offset == 0 ? current_ : offset < 0 ? previous_ : next_;
    if (!epoch.aead->open(epoch.nonce(number), datagram.first(kHeader), sealed, plain)) return Result::Forged;
  }

  window_.mark(number);
  if (offset == 0) {
    epoch_start_ = std::min(epoch_start_, number);
  } else if (offset > 0) {
    previous_ = std::move(current_);
    previous_until_ = now + old_key_life;
    current_ = std::move(next_);
    next_ = chain_.next();
    ++epoch_number_;
    epoch_start_ = number;
    ++keys_version_;
  }
  return Result::Opened;
}

}  // namespace dh::bulk
