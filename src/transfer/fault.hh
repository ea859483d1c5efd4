#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dh::transfer {

/// What is wrong with what the other side sent. Each has a sentence of its own: see sentence().
enum class Fault : std::uint8_t {
  // The format itself.
  BadMagic,
  BadVersion,
  UnknownRecord,
  RecordTooLong,
  BadRecord,
  WrongOrder,
  // The list of names.
  EmptyName,
  DotName,
  SlashInName,
  NulInName,
  NameTooLong,
  TooDeep,
  BadParent,
  BadKind,
  BadMode,
  SizeTooLarge,
  TooManyEntries,
  TooMuchMetadata,
  WrongTotals,
  EmptyManifest,
  TextNotAlone,
  TextTooLarge,
  LinkEmpty,
  LinkAbsolute,
  LinkOutside,
  LinkNul,
  LinkTooLong,
  DuplicateName,
  FileAndDirectory,
  UnicodeTwin,
  CaseTwin,
  HiddenName,
  // The content.
  NotAsked,
  BlockOrder,
  BlockSize,
  DamagedBlock,
  FileSize,
  DamagedFile,
  MissingFile,
  BadAnswer,
};

/// Whose business a fault is: it decides about the exit status.
enum class FaultClass : std::uint8_t {
  Protocol,   // the other side breaks the rules of the format
  Unsafe,     // well-formed, but nobody should have it on disk
  Integrity,  // what arrived is not what was sent
};

struct Refusal {
  Fault fault = Fault::BadRecord;
  std::string name = {};  // the entry it is about, as it came: printable() before showing

  bool operator==(const Refusal&) const = default;
};

FaultClass class_of(Fault fault);
/// One clause for people, with the name made printable.
std::string sentence(const Refusal& refusal);

}  // namespace dh::transfer
