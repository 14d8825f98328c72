#!/bin/sh
# Every student of the table of methods, then the table: sh runs/trec-dl/make_methods.sh MODELS
# A call that was stopped goes on where it was.
set -e
models=${1:?name a folder for the students}
distil() { name=$1; shift; reranker-kd distill runs/trec-dl/methods.yaml --cache "$models/scores" --output "$models/$name" "$@"; }

twin="--set method=twinbert --set student.kind=twin --set student.layers=6"
distil twinbert-cosine $twin
distil twinbert-residual $twin --set student.crossing=residual
# At equal time: the augmented one sees as many pairs, of which most are new.
bilstm="--set method=bert-bilstm --set student.kind=bert-bilstm --set student.layers=1 --set student.matching=true --set student.hidden_size=128
    --set student.classifier_size=128 --set training.steps=2500 --set training.batch_groups=16 --set training.learning_rate=1.5e-3"
distil bert-bilstm $bilstm
distil bert-bilstm-augmented $bilstm --set "transfer_set.augment=[{name: deletion, share: 0.5}, {name: span, share: 0.5},
    {name: first-sentence, share: 0.25}, {name: pairing, share: 0.5}]"
for layers in 3 6; do
  gated="--set student.layers=$layers --set student.gate=-3"
  distil simplified-tinybert-$layers $gated
  distil tinybert-$layers --set method=tinybert $gated --set training.steps=150
  distil standard-kd-$layers --set method=standard-kd $gated
done
distil margin-mse-3 --set method=margin-mse --set student.gate=-3

data=${RERANKER_KD_DATA:-../shared/data}/trec-dl
pairs="--candidates $data/runs/run.dl20.bm25.top100.txt --topics $data/topics.dl20.tsv
    --collection $data/collection.msmarco-v1.jsonl.gz"
students=$(for folder in "$models"/*-*; do echo --model "$folder"; done)
reranker-kd rerank $pairs $students --precision auto --output "$models/figures/{model}.txt"
reranker-kd compare --qrels $data/qrels.dl20.txt -l 2 -m nDCG@10 -m RR@10 \
    --baseline $data/runs/run.dl20.bm25.top100.txt "$models"/figures/*.txt --format json > runs/trec-dl/figures.json
python runs/benchmarks/make_shapes.py all-MiniLM-L6-v2 "$models/shapes"
reranker-kd benchmark $pairs --queries 1 --repeats 2 --model "$models/shapes/12x768" $students --backend torch:float32 \
    --output runs/trec-dl/speeds.json
python runs/trec-dl/make_table.py runs/trec-dl/figures.json runs/trec-dl/speeds.json "$models"
