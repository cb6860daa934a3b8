"""Unpack the binaries and the configuration of a Milvus wheel: unpack.py WHEEL FOLDER."""
import lzma, os, shutil, sys, zipfile

wheel, folder = sys.argv[1:]
os.makedirs(os.path.join(folder, "bin"))
with zipfile.ZipFile(wheel) as z:
    for name in z.namelist():
        base = os.path.basename(name)
        if name.startswith("milvus/data/bin/") and base.endswith(".lzma"):
            path = os.path.join(folder, "bin", base[: -len(".lzma")])
            with z.open(name) as packed, lzma.open(packed) as src, open(path, "wb") as dst:
                shutil.copyfileobj(src, dst, 1 << 20)
            os.chmod(path, 0o755)
        elif base in ("config.yaml.template", "glog.conf"):
            with z.open(name) as src, open(os.path.join(folder, base), "wb") as dst:
                shutil.copyfileobj(src, dst)
