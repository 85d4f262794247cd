"""Token embedding adaptation, eq. (3): learn the embeddings v_d of the tokens that stand for a defect category.

    python train_ti.py --data neu/Pa        # -> runs/neu/Pa/embedding.safetensors

Everything but v_d is frozen. v_d starts from the pretrained embeddings of the tokens that `<unknown>` consists of.
"""
from stablesdg import run


def parse(argv=None):
    p = run.parser(__doc__.splitlines()[0], "python train_ti.py --data neu/Pa")
    run.add_training(p, "ti")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)

    from stablesdg.files import save_tensors
    from stablesdg.stage import close_stage, open_stage, train_stage

    if run.already_finished(args, "ti", "embedding"):
        return
    stage = open_stage("ti", args)
    text = stage.sd.text
    v_d = text.set_vectors(args.token, text.pretrained_vectors(args.token))
    print(f"training v_d: {v_d.shape[0]} vectors of {v_d.shape[1]} for {args.token!r}")
    log = train_stage(stage, {"v_d": v_d})

    output = stage.folder / "embedding.safetensors"
    save_tensors(output, {args.token: v_d}, stage.metadata)
    close_stage(stage, output, *log)


if __name__ == "__main__":
    run.main(main)
