#pragma once

// Which entries of a manifest go where in the destination, and which of them are wanted at all. Looks, and
// changes nothing.

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "io/staging.hh"
#include "transfer/answer.hh"

namespace dh::io {

/// What happens to names that exist already.
enum class Conflict : std::uint8_t {
  Refuse,     // nothing is received
  Overwrite,  // directories are merged, files replaced
  Rename,     // `name (1)`
  Skip,       // directories are merged, what exists stays
};

struct WritePlan {
  std::map<std::uint32_t, Conflict> conflicts;  // per top-level entry that exists; others: Refuse
  bool verify = false;                          // keep a SHA-256 per file
};

using KeptFiles = std::unordered_map<std::uint32_t, Kept>;

/// A value about one transfer. Everything it refers to outlives it.
class TreePlan {
public:
  enum class State : std::uint8_t { Pending, Done, Failed, Skipped };
  /// An entry at the top.
  struct Top {
    std::string name;  // final
    Conflict conflict = Conflict::Refuse;
    bool is_taken = false;    // somebody else's has that name
    bool was_placed = false;  // by an earlier try
    bool is_ours = false;     // placed as a whole: its directories' modes are ours to set
  };

  /// `only_name`: what the single top-level entry is to be called; empty: its own name.
  TreePlan(int destination, std::string directory, const transfer::Manifest& manifest,
           const std::string& only_name, const Staging& staging);

  /// The top-level entries whose names are taken.
  std::vector<std::uint32_t> taken() const;
  /// Once. Errors: throws DiskError: a name is taken meanwhile, or a file is where a directory must be.
  void decide(const WritePlan& plan);
  /// Bytes that have to be written, given what is here.
  std::uint64_t bytes_missing(const KeptFiles& kept) const;
  /// What to answer, given what is here.
  std::vector<transfer::Span> spans(const KeptFiles& kept) const;

  std::string final_name(std::uint32_t entry) const;
  std::map<std::uint32_t, Top>& tops() { return tops_; }
  const Top& top_of(std::uint32_t entry) const;
  State state(std::uint32_t entry) const { return states_[entry]; }
  /// Put in place by an earlier try, alone or with the directory that it is in.
  bool is_in_place(std::uint32_t entry) const { return in_place_[entry]; }
  /// Goes, if it is a directory, into one of that name.
  bool merges(std::uint32_t entry) const {
    const Conflict conflict = top_of(entry).conflict;
    return conflict == Conflict::Overwrite || conflict == Conflict::Skip;
  }
  void set_state(std::uint32_t entry, State state) { states_[entry] = state; }

private:
  enum class There : std::uint8_t { Nothing, Directory, Other, Unreachable };

  void find_renamed(std::uint32_t entry, Top& top) const;
  void check_names_free() const;
  There at_destination(DirectoryChain& chain, std::uint32_t entry, struct stat& info) const;
  void mark_skipped();

  int destination_;
  std::string directory_;
  const transfer::Manifest& manifest_;
  const Staging& staging_;
  std::map<std::uint32_t, Top> tops_;
  std::vector<State> states_;
  std::vector<bool> in_place_;
};

}  // namespace dh::io
