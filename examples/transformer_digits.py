"""Hugging Face's Trainer (`pip install transformers accelerate`): it trains one epoch at a time.

A small BERT, made on the spot, reads a digit's 64 pixels as a text of 17 words. What a trial goes on from is
the Trainer's own checkpoint folder, packed into bytes.
"""

import io
import itertools
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from transformers.trainer_utils import EvalPrediction


class Pixels(Dataset[dict[str, torch.Tensor]]):
    """Digits as the Trainer wants them: token ids of (64,) and a label."""

    def __init__(self, rows: slice) -> None:
        images, labels = load_digits(return_X_y=True)
        self.tokens, self.labels = torch.as_tensor(images[rows]).long(), torch.as_tensor(labels[rows])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[row], "labels": self.labels[row]}


def accuracy(answers: EvalPrediction) -> dict[str, float]:
    """The Trainer's: what it computes of a validation, beside its loss."""
    return {"accuracy": float((answers.predictions.argmax(-1) == answers.label_ids).mean())}


def train(config: dict[str, Any], state: dict[str, Any] | None = None) -> Iterator[Any]:
    """Fine-tune a model; each epoch yields its validation, and the Trainer's checkpoint."""
    training, validation = Pixels(slice(0, 1400)), Pixels(slice(1400, None))
    with tempfile.TemporaryDirectory() as folder:
        last = None if state is None else unpack(state["checkpoint"], Path(folder))
        for epoch in itertools.count(1 if state is None else state["epoch"] + 1):
            trainer = Trainer(
                BertForSequenceClassification(small_bert(config["hidden"])),
                TrainingArguments(
                    output_dir=folder,
                    num_train_epochs=epoch,
                    learning_rate=config["lr"],
                    lr_scheduler_type="constant",  # one that decays would have to know the last epoch
                    per_device_train_batch_size=64,
                    per_device_eval_batch_size=256,
                    save_strategy="epoch",
                    save_total_limit=1,
                    report_to=[],
                    disable_tqdm=True,
                    log_level="error",
                ),
                train_dataset=training,
                eval_dataset=validation,
                compute_metrics=accuracy,
            )
            trainer.train(resume_from_checkpoint=last)
            found = trainer.evaluate()
            last = max(Path(folder).glob("checkpoint-*"), key=lambda each: int(each.name.partition("-")[2]))
            metrics = {"val_loss": found["eval_loss"], "accuracy": found["eval_accuracy"]}
            yield metrics, {"epoch": epoch, "checkpoint": pack(last)}


def small_bert(hidden: int) -> BertConfig:
    """A model of one layer and two heads."""
    return BertConfig(
        vocab_size=17,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        num_labels=10,
    )


def pack(folder: Path) -> bytes:
    """A checkpoint folder as bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=folder.name)
    return buffer.getvalue()


def unpack(data: bytes, folder: Path) -> Path:
    """A checkpoint folder from bytes, in this folder."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
        return folder / archive.getnames()[0]
