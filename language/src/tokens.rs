//! Text and tokens: bytes, and with the feature `bpe` the pieces of published checkpoints.

use crate::Config;
use crate::exchange::{ExchangeError, TOKENIZER, content, file_error, object, put};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fs;
use std::path::Path;

/// How a model's tokens stand for text.
///
/// ```
/// use attractor_language::tokens::Tokens;
/// let tokens = Tokens::bytes().encode("Ä!".as_bytes())?;
/// assert_eq!(tokens, [0xc3, 0x84, 0x21]);
/// assert_eq!(Tokens::bytes().decode(&tokens)?, "Ä!".as_bytes());
/// # Ok::<(), attractor_language::exchange::ExchangeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tokens(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Bytes,
    #[cfg(feature = "bpe")]
    Pieces(Box<pieces::Pieces>),
}

impl Tokens {
    /// A token for every byte, of the byte's value.
    #[must_use]
    pub const fn bytes() -> Self {
        Self(Kind::Bytes)
    }

    /// Whether a token is a byte.
    #[must_use]
    pub const fn is_bytes(&self) -> bool {
        matches!(self.0, Kind::Bytes)
    }

    /// The tokens of a model in a folder: bytes if the vocabulary is 256 and no `tokenizer.json` says otherwise, else the pieces in
    /// `tokenizer.json`.
    ///
    /// # Errors
    /// [`ExchangeError`] if the file is missing where it is needed, damaged, or not of GPT-2's kind (pieces of bytes), if it has more
    /// tokens than the model, or if the program was built without the feature `bpe`.
    pub fn open(folder: &Path, config: &Config) -> Result<Self, ExchangeError> {
        let path = folder.join(TOKENIZER);
        if config.vocabulary == 256 && !path.exists() {
            return Ok(Self::bytes());
        }
        Self::read(&path, config)
    }

    /// The tokens of a model, as a file of the kind of `tokenizer.json` has them.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn read(path: &Path, config: &Config) -> Result<Self, ExchangeError> {
        let bytes = fs::read(path).map_err(file_error(path))?;
        let said = object(path, &bytes)?;
        if config.vocabulary == 256 && said.get("model") == bytes_json().get("model") {
            return Ok(Self::bytes());
        }
        Self::open_pieces(path, bytes, &said, config)
    }

    #[cfg(not(feature = "bpe"))]
    fn open_pieces(
        path: &Path,
        _: Vec<u8>,
        _: &Map<String, Value>,
        config: &Config,
    ) -> Result<Self, ExchangeError> {
        let vocabulary = config.vocabulary;
        Err(content(
            path,
            format!(
                "the {vocabulary} tokens are not the 256 bytes: text needs the program with the feature `bpe`"
            ),
        ))
    }

    #[cfg(feature = "bpe")]
    fn open_pieces(
        path: &Path,
        bytes: Vec<u8>,
        said: &Map<String, Value>,
        config: &Config,
    ) -> Result<Self, ExchangeError> {
        let pieces = pieces::Pieces::new(bytes, said, config.vocabulary);
        pieces.map(|pieces| Self(Kind::Pieces(Box::new(pieces)))).map_err(|reason| content(path, reason))
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// [`ExchangeError::Text`] if the tokens are pieces and the text is no UTF-8. Any bytes are a text of bytes.
    pub fn encode(&self, text: &[u8]) -> Result<Vec<u32>, ExchangeError> {
        match &self.0 {
            Kind::Bytes => Ok(text.iter().map(|byte| u32::from(*byte)).collect()),
            #[cfg(feature = "bpe")]
            Kind::Pieces(pieces) => pieces.encode(text).map_err(|reason| ExchangeError::Text { reason }),
        }
    }

    /// The bytes that tokens stand for, token by token: a token may end within a character of UTF-8.
    ///
    /// # Errors
    /// [`ExchangeError::Text`] for a token that stands for nothing.
    pub fn decode(&self, tokens: &[u32]) -> Result<Vec<u8>, ExchangeError> {
        let mut text = Vec::new();
        for token in tokens {
            let known = match &self.0 {
                Kind::Bytes => u8::try_from(*token).map(|byte| text.push(byte)).is_ok(),
                #[cfg(feature = "bpe")]
                Kind::Pieces(pieces) => pieces.decode(*token, &mut text),
            };
            if !known {
                return Err(ExchangeError::Text { reason: format!("token {token} stands for no text") });
            }
        }
        Ok(text)
    }

    /// What `tokenizer.json` has, byte for byte as it was read.
    #[must_use]
    pub fn file(&self) -> Cow<'_, [u8]> {
        match &self.0 {
            Kind::Bytes => Cow::Owned(format!("{:#}\n", bytes_json()).into_bytes()),
            #[cfg(feature = "bpe")]
            Kind::Pieces(pieces) => Cow::Borrowed(pieces.file()),
        }
    }

    /// Writes `tokenizer.json` into a folder, as it was read: an imported model that is exported again needs it. Bytes need none but
    /// [`export`](crate::exchange::export)'s.
    ///
    /// # Errors
    /// [`ExchangeError::File`] if it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), ExchangeError> {
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        put(folder, TOKENIZER, &self.file())
    }
}

/// The character that stands for each byte in GPT-2's vocabulary: itself where it is printable and no space, else the next one from 256
/// on.
fn characters() -> [char; 256] {
    let mut next = 256;
    core::array::from_fn(|byte| {
        let code = match byte {
            0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => byte as u32,
            _ => {
                next += 1;
                next - 1
            }
        };
        char::from_u32(code).unwrap_or_default()
    })
}

/// What `tokenizer.json` says of the 256 bytes: pieces of one byte each, and no larger ones.
pub(crate) fn bytes_json() -> Value {
    let vocabulary: Map<String, Value> = characters()
        .iter()
        .enumerate()
        .map(|(byte, character)| (character.to_string(), json!(byte)))
        .collect();
    let level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": level,
        "post_processor": null,
        "decoder": level,
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": [],
        },
    })
}

#[cfg(feature = "bpe")]
mod pieces {
    use super::characters;
    use serde_json::{Map, Value};
    use std::collections::HashMap;
    use tokenizers::Tokenizer;

    /// Pieces of words, made of the characters for bytes.
    #[derive(Clone, Debug)]
    pub(super) struct Pieces {
        file: Vec<u8>,
        tokenizer: Tokenizer,
        bytes: HashMap<char, u8>,
    }

    impl Pieces {
        pub(super) fn new(
            file: Vec<u8>,
            said: &Map<String, Value>,
            vocabulary: usize,
        ) -> Result<Self, String> {
            let kind = said.get("decoder").and_then(|decoder| decoder.get("type"));
            if kind.and_then(Value::as_str) != Some("ByteLevel") {
                return Err("the decoder is not `ByteLevel`: only pieces of bytes are read, as GPT-2's are"
                    .to_owned());
            }
            let tokenizer = Tokenizer::from_bytes(&file).map_err(|error| error.to_string())?;
            let last = tokenizer.get_vocab(true).into_values().max();
            if let Some(last) = last.filter(|last| *last as usize >= vocabulary) {
                return Err(format!("there is a token {last}, and the model has {vocabulary}"));
            }
            let bytes = (0..=255).zip(characters()).map(|(byte, character)| (character, byte)).collect();
            Ok(Self { file, tokenizer, bytes })
        }

        pub(super) fn encode(&self, text: &[u8]) -> Result<Vec<u32>, String> {
            let text = str::from_utf8(text).map_err(|error| format!("the text is no UTF-8: {error}"))?;
            // Without the beginnings and ends that some files add.
            let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
            Ok(encoding.get_ids().to_vec())
        }

        pub(super) fn decode(&self, token: u32, text: &mut Vec<u8>) -> bool {
            let Some(piece) = self.tokenizer.id_to_token(token) else { return false };
            for character in piece.chars() {
                match self.bytes.get(&character) {
                    Some(byte) => text.push(*byte),
                    // Of a piece that was added and is no text of bytes.
                    None => text.extend(character.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            true
        }

        pub(super) fn file(&self) -> &[u8] {
            &self.file
        }
    }
}
