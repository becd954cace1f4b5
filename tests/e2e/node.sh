#!/bin/sh
# The first process of a node, in namespaces of its own: all that runs there ends with it.
# NAME, STATE (a folder that outlives it), LOGS, KUBELET, IMAGES and IP are given.
set -eu
hostname "$NAME"
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock

# What is written to /etc and /var/lib stays the node's, and what it boots with again.
for folder in etc var/lib; do
    mkdir -p "$STATE/upper/$folder" "$STATE/work/$folder"
    mount -t overlay -o "lowerdir=/$folder,upperdir=$STATE/upper/$folder,workdir=$STATE/work/$folder" \
        overlay "/$folder"
done
over() {
    mkdir -p "$STATE/$1" "$2"
    mount --bind "$STATE/$1" "$2"
}
over kubelet /var/lib/kubelet
over log /var/log
over cni /etc/cni/net.d

# The system UUID: from the firmware where there is one, else the machine id.
mount --bind "$STATE/uuid" /etc/machine-id
firmware=/sys/class/dmi/id/product_uuid
[ ! -e $firmware ] || mount --bind "$STATE/uuid" $firmware

# A kubelet sets these for the whole machine: it gets copies.
mkdir -p "$STATE/sysctl"
for tunable in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    copy=$STATE/sysctl/$(basename $tunable)
    cat "/proc/sys/$tunable" >"$copy"
    mount --bind "$copy" "/proc/sys/$tunable"
done
mount --make-rshared /

containerd --config "$STATE/containerd.toml" >>"$LOGS/containerd.log" 2>&1 </dev/null &
until ctr version >/dev/null 2>&1; do sleep 0.1; done
ctr --namespace k8s.io images ls --quiet | grep -q ovirt-ccm ||
    ctr --namespace k8s.io images import "$IMAGES" >/dev/null
until ip -4 addr show dev eth0 2>/dev/null | grep -q inet; do sleep 0.1; done

while :; do
    "$KUBELET" --config="$STATE/kubelet.json" --kubeconfig=/var/lib/kubelet/kubeconfig \
        --bootstrap-kubeconfig="$STATE/bootstrap.json" --cloud-provider=external \
        --hostname-override="$NAME" --node-ip="$IP" --v=2 >>"$LOGS/kubelet.log" 2>&1 </dev/null
    sleep 1
done
