#include "crypto/noise.hh"

#include <fstream>
#include <sstream>

#include <boost/json.hpp>
#include <gtest/gtest.h>

namespace dh {
namespace {

namespace json = boost::json;

// Gives out the ephemeral key of a vector, once.
class GivenKey final : public Rng {
public:
  explicit GivenKey(Bytes key) : key_(std::move(key)) {}
  void fill(ByteSpan out) override {
    ASSERT_EQ(out.size(), key_.size());
    std::copy(key_.begin(), key_.end(), out.begin());
    key_.clear();
  }

private:
  Bytes key_;
};

Bytes hex_field(const json::object& vector, const std::string& name) {
  const auto* value = vector.if_contains(name);
  return value ? *from_hex(std::string_view(value->as_string())) : Bytes();
}

NoiseHandshake side(const json::object& vector, const std::string& prefix, std::string_view pattern,
                    const Bytes& prologue) {
  NoiseConfig config{.pattern = pattern,
                     .initiator = prefix == "init",
                     .prologue = prologue,
                     .local_static = {},
                     .remote_static = {},
                     .psk = {}};
  if (const Bytes key = hex_field(vector, prefix + "_static"); !key.empty())
    config.local_static = KeyPair::from_private(PrivateKey(*array_from_hex<32>(to_hex(key))));
  if (const Bytes key = hex_field(vector, prefix + "_remote_static"); !key.empty())
    config.remote_static = PublicKey::from(std::span(key).first<32>());
  if (const auto* psks = vector.if_contains(prefix + "_psks"); psks && !psks->as_array().empty())
    config.psk = Secret<32>(*array_from_hex<32>(std::string_view(psks->as_array()[0].as_string())));
  return NoiseHandshake(config);
}

TEST(Noise, ReproducesThePublishedVectors) {
  std::ifstream file(DERPHOLE_TEST_VECTORS "/noise.json");
  std::stringstream text;
  text << file.rdbuf();
  const json::value document = json::parse(text.str());
  std::size_t count = 0;
  for (const json::value& value : document.at("vectors").as_array()) {
    const json::object& vector = value.as_object();
    const std::string_view name = vector.at("protocol_name").as_string();
    SCOPED_TRACE(name);
    const std::string_view pattern = name.substr(6, name.find('_', 6) - 6);
    ASSERT_TRUE(NoiseHandshake::is_known(pattern));
    NoiseHandshake initiator = side(vector, "init", pattern, hex_field(vector, "init_prologue"));
    NoiseHandshake responder = side(vector, "resp", pattern, hex_field(vector, "resp_prologue"));
    GivenKey initiator_key(hex_field(vector, "init_ephemeral"));
    GivenKey responder_key(hex_field(vector, "resp_ephemeral"));
    std::optional<std::pair<NoiseCipher, NoiseCipher>> sending, receiving;
    std::size_t number = 0;
    for (const json::value& message : vector.at("messages").as_array()) {
      const Bytes payload = hex_field(message.as_object(), "payload");
      const Bytes ciphertext = hex_field(message.as_object(), "ciphertext");
      const bool from_initiator = number++ % 2 == 0;
      if (!initiator.finished()) {
        NoiseHandshake& from = from_initiator ? initiator : responder;
        NoiseHandshake& to = from_initiator ? responder : initiator;
        EXPECT_EQ(from.write_message(payload, from_initiator ? initiator_key : responder_key), ciphertext);
        EXPECT_EQ(to.read_message(ciphertext), payload);
        continue;
      }
      if (!sending) {
        ASSERT_TRUE(responder.finished());
        EXPECT_EQ(initiator.hash(), responder.hash());
        EXPECT_EQ(to_hex(initiator.hash()), std::string_view(vector.at("handshake_hash").as_string()));
        EXPECT_TRUE(initiator.exporter("label") == responder.exporter("label"));
        sending = initiator.split();
        receiving = responder.split();
      }
      NoiseCipher& seal = from_initiator ? sending->first : sending->second;
      NoiseCipher& open = from_initiator ? receiving->first : receiving->second;
      EXPECT_EQ(seal.encrypt({}, payload), ciphertext);
      EXPECT_EQ(open.decrypt({}, ciphertext), payload);
    }
    ++count;
  }
  EXPECT_EQ(count, 18u);
}

struct IkPair {
  SeededRng rng{7};
  KeyPair initiator_key = KeyPair::generate(rng), responder_key = KeyPair::generate(rng);
  Secret<32> psk;
  NoiseHandshake initiator{{.pattern = "IKpsk2",
                            .initiator = true,
                            .prologue = as_bytes("p"),
                            .local_static = initiator_key,
                            .remote_static = responder_key.pub,
                            .psk = psk}};
  NoiseHandshake responder{{.pattern = "IKpsk2",
                            .initiator = false,
                            .prologue = as_bytes("p"),
                            .local_static = responder_key,
                            .remote_static = {},
                            .psk = psk}};
};

TEST(Noise, EveryAlteredByteOfAMessageIsForgedOrABadPoint) {
  IkPair pair;
  const Bytes first = *pair.initiator.write_message(as_bytes("hello"), pair.rng);
  for (std::size_t i = 0; i < first.size(); ++i) {
    Bytes altered = first;
    altered[i] ^= std::byte{1};
    NoiseHandshake responder = pair.responder;
    EXPECT_FALSE(responder.read_message(altered)) << i;
  }
  for (std::size_t size = 0; size < first.size(); ++size) {
    NoiseHandshake responder = pair.responder;
    EXPECT_FALSE(responder.read_message(ByteView(first).first(size))) << size;
  }
  EXPECT_TRUE(pair.responder.read_message(first));
  EXPECT_EQ(pair.responder.remote_static(), pair.initiator_key.pub);
}

TEST(Noise, ALowOrderEphemeralIsRefused) {
  IkPair pair;
  Bytes first = *pair.initiator.write_message({}, pair.rng);
  std::fill_n(first.begin(), 32, std::byte{0});
  EXPECT_EQ(pair.responder.read_message(first), std::unexpected(NoiseError::BadPoint));
}

TEST(Noise, KnowsItsPatternsOnly) {
  EXPECT_TRUE(NoiseHandshake::is_known("XXpsk3"));
  EXPECT_FALSE(NoiseHandshake::is_known("IKpsk3"));
  EXPECT_FALSE(NoiseHandshake::is_known("IKpsk"));
  EXPECT_FALSE(NoiseHandshake::is_known("IKfallback"));
  EXPECT_FALSE(NoiseHandshake::is_known("ZZ"));
  EXPECT_FALSE(NoiseHandshake::is_known(""));
}

}  // namespace
}  // namespace dh
