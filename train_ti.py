"""Token embedding adaptation, eq. (3): learn the embeddings v_d of the tokens that stand for a defect category.

    python train_ti.py --data neu/Pa        # -> runs/neu/Pa/embedding.safetensors

Everything but v_d is frozen. v_d starts from the pretrained embeddings of the tokens that `<unknown>` consists of.
"""
import argparse

from stablesdg.app.command_line import add_training, announce, parser, run_main
from stablesdg.app.paths import run_folder
from stablesdg.storage.lock import alone_in

LEARNING_RATE = 5e-4  # Adam's, the paper's


def main(argv: list[str] | None = None) -> None:
    p = parser(__doc__, "python train_ti.py --data neu/Pa", many=True)
    add_training(p, LEARNING_RATE)
    args = p.parse_args(argv)
    folder = run_folder(args.data, args.out)
    announce("train_ti.py", args.data, folder)
    with alone_in(folder):
        learn_embedding(args)


def learn_embedding(args: argparse.Namespace) -> None:
    """Train v_d and write it into the run folder."""
    from stablesdg.app import processes, training

    processes.start()
    settings = training.TrainingSettings(**vars(args))
    output = settings.folder / "embedding.safetensors"
    if training.is_finished(settings, "ti", "embedding"):
        return
    stage = training.open_stage("ti", settings, LEARNING_RATE)
    text = stage.sd.text
    v_d = text.set_vectors(settings.token, text.pretrained_vectors(settings.token))
    print(f"training v_d: {v_d.shape[0]} vectors of {v_d.shape[1]} for {settings.token!r}")
    log = training.train_stage(stage, {"v_d": v_d})
    training.save_adapter(stage, output, {settings.token: v_d})
    training.close_stage(stage, output, log)


if __name__ == "__main__":
    run_main(main)
