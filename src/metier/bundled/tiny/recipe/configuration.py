"""The architecture, the special tokens and the side files of the base model."""

PAD, BEGIN, END, STOP = "<|pad|>", "<|begin|>", "<|end|>", "<|stop|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
RESERVED = tuple(f"<|reserved_{number}|>" for number in range(8))
SPECIAL_TOKENS = (PAD, BEGIN, END, *ROLE_TOKENS, STOP, *RESERVED)
PAD_ID, BEGIN_ID, END_ID, STOP_ID = (SPECIAL_TOKENS.index(token) for token in (PAD, BEGIN, END, STOP))

VOCABULARY_SIZE = 6144
CONTEXT_LENGTH = 1024


def model_configuration() -> dict:
    """Return config.json of the base model."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY_SIZE,
        "hidden_size": 192,
        "intermediate_size": 576,
        "num_hidden_layers": 6,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT_LENGTH,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "initializer_range": 0.02,
        "bos_token_id": BEGIN_ID,
        "eos_token_id": STOP_ID,
        "pad_token_id": PAD_ID,
        "use_cache": True,
        "dtype": "bfloat16",
    }


def generation_configuration() -> dict:
    """Return generation_config.json: greedy, ending at the end of a turn or of a document."""
    return {
        "bos_token_id": BEGIN_ID,
        "eos_token_id": [STOP_ID, END_ID],
        "pad_token_id": PAD_ID,
        "do_sample": False,
        "max_new_tokens": 256,
    }


def tokenizer_configuration() -> dict:
    """Return tokenizer_config.json; nothing is added to an encoded text, the chat template writes the begin token."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT_LENGTH,
        "bos_token": BEGIN,
        "eos_token": STOP,
        "pad_token": PAD,
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "additional_special_tokens": [END, *ROLE_TOKENS, *RESERVED],
    }


def parameter_count(configuration: dict) -> int:
    """Return how many parameters a Llama decoder of this configuration has."""
    hidden, head = configuration["hidden_size"], configuration["head_dim"]
    query = configuration["num_attention_heads"] * head
    key_value = configuration["num_key_value_heads"] * head
    attention = 2 * hidden * query + 2 * hidden * key_value
    feed_forward = 3 * hidden * configuration["intermediate_size"]
    layers = configuration["num_hidden_layers"] * (attention + feed_forward + 2 * hidden)
    embeddings = configuration["vocab_size"] * hidden * (1 if configuration["tie_word_embeddings"] else 2)
    return embeddings + layers + hidden
