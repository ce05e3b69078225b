"""Clients other than the official one for Python: the one for Node, and litellm; `make clients` installs both."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.house.faults import ROOT
from tests.serve.workshop import MODEL, Process, Shop

CLIENTS = Path(os.environ.get("METIER_CLIENTS", ROOT / ".venv" / "clients"))

NODE = """
const OpenAI = require("openai");
const [url, base, tuned] = process.argv.slice(1);
const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
const asked = { messages: [{ role: "user", content: "my card number 7" }], temperature: 0, max_tokens: 6 };
(async () => {
  const models = (await client.models.list()).data.map((each) => each.id);
  const whole = await client.chat.completions.create({ model: tuned, ...asked });
  let text = "";
  for await (const part of await client.chat.completions.create({ model: tuned, ...asked, stream: true })) {
    text += part.choices[0]?.delta?.content ?? "";
  }
  const vectors = await client.embeddings.create({ model: base, input: ["card", "loan"] });
  let refused = 0;
  try { await client.chat.completions.create({ model: "nobody", ...asked }); } catch (error) { refused = error.status; }
  const file = await client.files.create({
    file: await OpenAI.toFile(Buffer.from("{}"), "a.jsonl"), purpose: "fine-tune",
  });
  console.log(JSON.stringify({
    models, text, said: whole.choices[0].message.content, tokens: whole.usage.completion_tokens,
    widths: vectors.data.map((each) => each.embedding.length), refused, bytes: file.bytes,
  }));
})();
"""

LITELLM = """
import json, sys
import litellm
url, base, tuned = sys.argv[1:]
place = {"api_base": url, "api_key": "none", "max_retries": 0}
asked = {"messages": [{"role": "user", "content": "my card number 7"}], "temperature": 0, "max_tokens": 6, **place}
whole = litellm.completion(model=f"openai/{tuned}", **asked)
parts = litellm.completion(model=f"openai/{tuned}", stream=True, **asked)
text = "".join(part.choices[0].delta.content or "" for part in parts)
vectors = litellm.embedding(model=f"openai/{base}", input=["card", "loan"], **place)
try:
    litellm.completion(model="openai/nobody", **asked)
except litellm.NotFoundError as error:
    refused = error.status_code
print(json.dumps({
    "text": text, "said": whole.choices[0].message.content, "tokens": whole.usage.completion_tokens,
    "widths": [len(each["embedding"]) for each in vectors.data], "refused": refused,
}))
"""


def told(command: list[str], server: Process, shop: Shop) -> Any:
    """Return what a client's program has printed, after checking what both clients print."""
    environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [*command, server.url, MODEL, shop.runs["first"]], cwd=CLIENTS, env=environment, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["text"] == found["said"]
    assert found["tokens"] > 0
    assert found["widths"] == [32, 32]
    assert found["refused"] == 404
    return found


@pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules" / "openai").is_dir(),
    reason="no Node, or no openai for it: make clients",
)
def test_the_client_for_node(server: Process, shop: Shop) -> None:
    found = told(["node", "-e", NODE], server, shop)
    assert shop.runs["first"] in found["models"]
    assert found["bytes"] == 2


@pytest.mark.skipif(not (CLIENTS / "litellm" / "bin" / "python").exists(), reason="no litellm: make clients")
def test_litellm(server: Process, shop: Shop) -> None:
    told([str(CLIENTS / "litellm" / "bin" / "python"), "-c", LITELLM], server, shop)
