"""Network parameter adaptation, eq. (4): W0 + BA of rank r in all attention layers of text encoder and UNet.

    python train_lora.py --rank 1 --data neu/Pa        # -> runs/neu/Pa/lora.safetensors

Uses the token embedding v_d* of the same run folder, fixed. --full trains every parameter of both networks instead,
the paper's full adaptation, and writes full.safetensors.
"""
from stablesdg import run
from stablesdg.files import UserError


def parse(argv=None):
    p = run.parser(__doc__.splitlines()[0], "python train_lora.py --rank 1 --data neu/Pa")
    run.add_training(p, "lora")
    method = p.add_argument_group("method")
    method.add_argument("--rank", type=run.positive, default=1, help="r, the rank of BA")
    method.add_argument("--alpha", type=float, help="BA is scaled by alpha / r (default: the rank)")
    method.add_argument("--full", action="store_true", help="adapt all parameters rather than BA")
    return p.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    if args.full and (args.rank != 1 or args.alpha is not None):
        raise UserError("--full trains all parameters and has no rank: leave out --rank and --alpha.")

    import torch

    from stablesdg import lora
    from stablesdg.files import save_tensors
    from stablesdg.stage import close_stage, open_stage, train_stage, use_embedding

    # Parameters that are trained are kept in float32; BA is added to frozen layers of any dtype.
    name = "full" if args.full else "lora"
    if run.already_finished(args, name, name):
        return
    stage = open_stage(name, args, dtype=torch.float32 if args.full else None)
    use_embedding(stage)
    output = stage.folder / f"{name}.safetensors"

    if args.full:
        networks = {"unet": stage.sd.unet, "text_encoder": stage.sd.text.model}
        parameters = {f"{part}.{key}": p.requires_grad_() for part, network in networks.items()
                      for key, p in network.named_parameters()}
        print(f"training all {sum(p.numel() for p in parameters.values()):,} parameters")
        dtype = run.pick_dtype(args.dtype, stage.sd.device)
        log = train_stage(stage, parameters, autocast_dtype=None if dtype == torch.float32 else dtype)
        save_tensors(output, parameters, stage.metadata)
    else:
        wrapped = lora.inject(stage.sd, args.rank, args.alpha, args.seed)
        parameters = {f"{part}.{key}.{factor}": getattr(layer, factor)
                      for (part, key), layer in wrapped.items() for factor in "AB"}
        print(f"training {sum(p.numel() for p in parameters.values()):,} parameters: A and B of {len(wrapped)} layers, "
              f"rank {args.rank}")
        log = train_stage(stage, parameters)
        lora.save(output, wrapped, {**stage.metadata, "ss_base_model_version": "sd_v1", "ss_sd_model_hash": stage.sd.sha256,
                                    "modelspec.trigger_phrase": args.prompt})
    close_stage(stage, output, *log)


if __name__ == "__main__":
    run.main(main)
